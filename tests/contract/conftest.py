"""The registries that the contract is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.registry.embedded import EmbeddedRegistry
from artfs.wire.service import Registry
from tests.contract.uploading import Clock
from tests.registries import migrated_database, open_postgres_registry


@pytest.fixture
def clock() -> Clock:
    return Clock()


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
    opened.close()
