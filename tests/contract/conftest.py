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
<<<<<<< HEAD
from tests.network.served import admin_token, served
=======
from tests.registries import migrated_database, open_postgres_registry
>>>>>>> postgres


@pytest.fixture
def clock() -> Clock:
    return Clock()


<<<<<<< HEAD
@pytest.fixture(params=["embedded", "remote"])
def registry(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    """One empty registry of each implementation, with the project `vision`."""
    opened = EmbeddedRegistry(tmp_path / "registry", clock=clock)
    if request.param == "embedded":
        opened.projects.create("vision")
        yield opened
        opened.close()
        return
    token = admin_token(opened)
=======
@pytest.fixture(params=["embedded", pytest.param("postgres", marks=pytest.mark.postgres)])
def registry(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    """One empty registry of each implementation, with the project `vision`."""
    if request.param == "embedded":
        yield from _with_project(EmbeddedRegistry(tmp_path / "registry", clock=clock))
    else:
        with migrated_database() as url:
            yield from _with_project(open_postgres_registry(url, tmp_path / "registry", clock=clock))


def _with_project(opened: Registry) -> Iterator[Registry]:
    opened.projects.create("vision")
    yield opened
>>>>>>> postgres
    opened.close()
    with served(partial(EmbeddedRegistry, tmp_path / "registry", clock=clock, verify=Verify.ALL)) as url:
        remote = RemoteRegistry(url, token, spool=tmp_path / "spool")
        remote.projects.create("vision")
        yield remote
        remote.close()
