"""`artfs cache cleanup`: the most recently used part stays, and what it says it freed is what `du` misses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.acceptance.user import User

pytestmark = [pytest.mark.falsifies("cache-limit")]

FILE_BYTES = 500_000
FILES = 6
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def cached(user: User, tmp_path: Path) -> User:
    """Four artifacts of 3 MB that do not compress, read through the cache one after another, then the first again."""
    for name in NAMES:
        data = tmp_path / "data" / name
        data.mkdir(parents=True)
        for number in range(FILES):
            (data / f"{number}").write_bytes(os.urandom(FILE_BYTES))
        user.run("put", "-n", f"p/{name}", data)
    for number, name in enumerate((*NAMES, NAMES[0])):
        user.run("get", f"p/{name}", "--root", tmp_path / f"got-{number}", ARTFS_CACHE="always")
    return user


def used_bytes(user: User) -> int:
    """What `du` says of the cache."""
    root = user.home / ".cache/artfs/objects"
    return sum(path.lstat().st_blocks * 512 for path in (root, *root.rglob("*")))


def misses(user: User, name: str, root: Path) -> int:
    """Objects that reading an artifact once more did not find in the cache."""
    before = user.json("cache", "info")
    user.run("get", f"p/{name}", "--root", root, ARTFS_CACHE="always")
    after = user.json("cache", "info")
    return int(after["misses"] - before["misses"])


@pytest.mark.parametrize("command", [("cache",), ("artifact", "cache")])
def test_the_most_recently_used_part_is_kept(cached: User, tmp_path: Path, command: tuple[str, ...]) -> None:
    before = used_bytes(cached)
    assert before > len(NAMES) * FILES * FILE_BYTES
    plan = cached.json(*command, "cleanup", "8MB", "--dry-run")
    assert used_bytes(cached) == before
    done = cached.json(*command, "cleanup", "8MB")
    assert used_bytes(cached) <= 8_000_000
    assert done["freed_bytes"] == pytest.approx(before - used_bytes(cached), abs=64 << 10)
    assert done["kept_bytes"] == pytest.approx(used_bytes(cached), abs=64 << 10)
    assert done["objects"] == plan["objects"] > 0
    assert misses(cached, "a", tmp_path / "a") == 0, "read last, though it came first"
    assert misses(cached, "d", tmp_path / "d") == 0
    assert misses(cached, "b", tmp_path / "b") > 0, "not used for longest"


def test_a_cleanup_tells_people_what_it_freed(cached: User) -> None:
    told = cached.run("cache", "cleanup", "8MB").stdout
    assert told.startswith("freed ")
    assert " objects; " in told
    assert cached.run("cache", "cleanup", "1GB").stdout.startswith("freed 0 B in 0 objects; ")
