"""A draft in a mount, as a user has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.user import User


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An artifact's directory."""
    user = User(tmp_path_factory.mktemp("home"))
    with user.mounted() as mount:
        place = mount / "posix/tools"
        place.mkdir(parents=True)
        yield place


@pytest.fixture
def draft(artifact: Path, request: pytest.FixtureRequest) -> Path:
    """A new draft, named after the test."""
    place: Path = artifact / ".staging" / request.node.name[:100].replace("[", "-").strip("]")
    place.mkdir()
    return place
