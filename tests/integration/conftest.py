"""A client of an embedded registry, as the command line and the mount have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.client.client import Client
from artfs.registry.embedded import EmbeddedRegistry


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Its registry is empty but for the project `vision`."""
    opened = Client(EmbeddedRegistry(tmp_path / "registry"))
    opened.registry.projects.create("vision")
    yield opened
    opened.close()
