"""A disk that is full, of drafts, of packs or of the database: ENOSPC to who writes, nothing to who reads, and nothing is lost.

Each disk is a small tmpfs, filled up to a few bytes or many by somebody else while the mount runs, and emptied again.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from artfs.registry import fsck
from artfs.store.packs import LocalPackStore
from tests.acceptance.team import Member
from tests.faults.drafting import Program
from tests.faults.struck_mount import WORK, some_files
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("no-end", "draft-kept"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(600),
]

DISK_BYTES = 64 << 20
FREE = (0, 64 << 10)
FREE_MORE = (*range(0, 64 << 10, 4 << 10), *range(64 << 10, 1 << 20, 32 << 10))
NO_SPACE = frozenset({errno.ENOSPC})


@contextmanager
def disk(place: Path) -> Iterator[Path]:
    """A disk of DISK_BYTES at `place`."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], check=True, timeout=30)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True, timeout=30)


@contextmanager
def full(place: Path, free_bytes: int) -> Iterator[None]:
    """Somebody else leaves so much of the disk."""
    filler = place / "filler"
    try:
        with filler.open("wb") as file:
            found = os.statvfs(place)
            os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - free_bytes))
        yield
    finally:
        filler.unlink()


@pytest.fixture(params=["registry", *(pytest.param(name, marks=pytest.mark.deep) for name in ("drafts", "packs"))])
def user(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Member, Path]]:
    """Somebody with a disk for drafts, for packs, or for the registry with its database, and where that is."""
    home = tmp_path / "home"
    data = home / ".local/share/artfs"
    with disk(
        {"drafts": data / "staging", "packs": home / "packs", "registry": data / "registry"}[request.param]
    ) as place:
        settings = {"ARTFS_STORAGE": str(place)} if request.param == "packs" else {}
        yield Member(home, settings), place


def put_a_version(user: Member) -> None:
    source = user.home / "source"
    source.mkdir()
    for name, data in some_files(0).items():
        (source / name).write_bytes(data)
    user.run("put", "-q", "-n", "p/c0", source)
    user.run("put", "-q", "-n", WORK, source)


def draft_on_a_full_disk(mount: Path, place: Path, free_bytes: int) -> bool:
    """A program reads, drafts and commits. Returns whether the disk was too full for it."""
    files, added = some_files(0), {"new": some_files(free_bytes + 1)["large"], "newer": some_files(free_bytes + 2)["a"]}
    program, reader = Program(mount / WORK, NO_SPACE), Program(mount / WORK, frozenset())
    version = mount / "p/c0/v0"
    with full(place, free_bytes):
        reader.look(files, version)
        program.make_draft(files, version, added)
        program.commit()
        was_refused = not program.is_committed
        reader.look(files, version)
    program.check()
    return was_refused


@pytest.mark.parametrize(
    "levels", [pytest.param(FREE, id="some"), pytest.param(FREE_MORE, id="many", marks=pytest.mark.deep)]
)
def test_a_full_disk_refuses_writes_and_loses_nothing(user: tuple[Member, Path], levels: tuple[int, ...]) -> None:
    member, place = user
    put_a_version(member)
    with member.mounted() as mount:
        (before,) = member.json("status")["mounts"]
        refused = sum(draft_on_a_full_disk(mount, place, free_bytes) for free_bytes in levels)
        (after,) = member.json("status")["mounts"]
        assert after["pid"] == before["pid"]
    assert refused
    tried("draft or commit on a full disk", refused)
    store = LocalPackStore(place / "packs") if member.settings else None
    assert [str(finding) for finding in fsck.check(member.registry, store=store).findings] == []
