"""The user of a registry whose questions the FAQ answers, embedded and over a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from artfs.api.session import close_sessions
from tests.faq.worlds import World, embedded, served

Enter = Callable[[World], World]


@pytest.fixture
def enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Enter]:
    """Make this process, too, a user of a world."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))

    def entered(world: World) -> World:
        for name, value in world.settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(world.directory)
        return world

    yield entered
    close_sessions()


@pytest.fixture(params=["embedded", "served"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(kind: str, tmp_path: Path, enter: Enter) -> Iterator[World]:
    with ExitStack() as stack:
        made = embedded(tmp_path) if kind == "embedded" else stack.enter_context(served(tmp_path))
        yield enter(made)
        close_sessions()
