"""The registries that the contract is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from artfs.client.remote.registry import RemoteRegistry
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.resources import Verify
from artfs.wire.service import Registry
from tests.contract.uploading import Clock
from tests.network.served import admin_token, served
from tests.registries import migrated_database, open_postgres_registry
from tests.stores import STORES


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def _embedded(root: Path, clock: Clock) -> Iterator[Registry]:
    yield EmbeddedRegistry(root / "registry", clock=clock)


@contextmanager
def _postgres(root: Path, clock: Clock) -> Iterator[Registry]:
    with migrated_database() as url:
        yield open_postgres_registry(url, root / "registry", clock=clock)


@contextmanager
def _remote(root: Path, clock: Clock) -> Iterator[Registry]:
    own = EmbeddedRegistry(root / "registry", clock=clock)
    token = admin_token(own)
    own.close()
    with served(partial(EmbeddedRegistry, root / "registry", clock=clock, verify=Verify.ALL)) as url:
        yield RemoteRegistry(url, token, spool=root / "spool")


@contextmanager
def _encrypted(root: Path, clock: Clock) -> Iterator[Registry]:
    with STORES["encrypted"](root / "registry") as stored:
        yield EmbeddedRegistry(root / "registry", store=stored.store, clock=clock)


@contextmanager
def _shared(root: Path, clock: Clock) -> Iterator[Registry]:
    with migrated_database() as url, STORES["s3"](root / "registry") as stored:
        yield open_postgres_registry(url, root / "registry", store=stored.store, clock=clock)


REGISTRIES = {
    "embedded": _embedded,
    "postgres": _postgres,
    "remote": _remote,
    "encrypted": _encrypted,
    "postgres-s3": _shared,
}
MARKS = {"postgres": [pytest.mark.postgres], "postgres-s3": [pytest.mark.postgres, pytest.mark.s3]}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in REGISTRIES])
def registry(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    """One empty registry of each implementation, with the project `vision`."""
    with REGISTRIES[request.param](tmp_path, clock) as opened:
        opened.projects.create("vision")
        yield opened
        opened.close()
