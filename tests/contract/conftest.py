"""The registries that the contract is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.registry.embedded import EmbeddedRegistry
from artfs.wire.service import Registry
from tests.contract.uploading import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["embedded"])
def registry(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    """One empty registry of each implementation, with the project `vision`."""
    assert request.param == "embedded"
    opened = EmbeddedRegistry(tmp_path / "registry", clock=clock)
    opened.projects.create("vision")
    yield opened
    opened.close()
