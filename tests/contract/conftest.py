"""The registries that the contract is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from artfs.client.remote.registry import RemoteRegistry
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.resources import Verify
from artfs.wire.service import Registry
from tests.contract.uploading import Clock
from tests.network.served import admin_token, served
from tests.stores import STORES


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["embedded", "remote", "encrypted", pytest.param("s3", marks=pytest.mark.s3)])
def registry(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    """One empty registry of each implementation, with the project `vision`."""
    if request.param in STORES:
        with STORES[request.param](tmp_path / "registry") as stored:
            yield from _with_project(EmbeddedRegistry(tmp_path / "registry", store=stored.store, clock=clock))
        return
    opened = EmbeddedRegistry(tmp_path / "registry", clock=clock)
    if request.param == "embedded":
        opened.projects.create("vision")
        yield opened
        opened.close()
        return
    token = admin_token(opened)
    opened.close()
    with served(partial(EmbeddedRegistry, tmp_path / "registry", clock=clock, verify=Verify.ALL)) as url:
        remote = RemoteRegistry(url, token, spool=tmp_path / "spool")
        remote.projects.create("vision")
        yield remote
        remote.close()


def _with_project(opened: Registry) -> Iterator[Registry]:
    opened.projects.create("vision")
    yield opened
    opened.close()
