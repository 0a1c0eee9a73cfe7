"""A server that the `wandb` client works with, one for each module: it keeps what the tests before left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wandb.client import WandbServer, WandbUser, wandb_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("wandb")) as running:
        yield running
        assert running.failures() == []


@pytest.fixture(scope="module")
def geoff(server: WandbServer) -> WandbUser:
    return server.user("geoff")
