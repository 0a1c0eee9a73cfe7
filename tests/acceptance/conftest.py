"""Fixtures for tests that use artfs as a user does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.user import User


@pytest.fixture
def user(tmp_path: Path) -> User:
    home = tmp_path / "home"
    home.mkdir()
    return User(home)
