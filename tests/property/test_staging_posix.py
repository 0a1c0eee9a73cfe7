"""A draft against a directory of the machine's own file system: the same calls give the same errnos and the same tree.

The draft is committed and drafted again from its version, and given up and adopted again, at any point in between: what is
seen must not depend on what was copied up, on what lies below, or on who holds it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from artfs.vfs.attributes import AttributeChange
from tests.reliability.trials import tried
from tests.unit.staging.driver import Drive, Machine

pytestmark = [pytest.mark.falsifies("model", "posix")]

NAMES = ("a", "b", "é", "c" * 255)
LINKS = ("l", "m")
EXCHANGE, NOREPLACE = 2, 1
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)

directories = st.lists(st.sampled_from(NAMES), max_size=2).map("/".join)
leaves = st.sampled_from(NAMES + LINKS)
paths = st.builds(lambda head, name: f"{head}/{name}" if head else name, directories, leaves)
contents = st.binary(max_size=40)


def renameat2(old: Path, new: Path, flags: int) -> None:
    if _libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class StagingIsPosix(RuleBasedStateMachine):
    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="artfs-posix-"))
        self.real = self.root / "real"
        self.real.mkdir(mode=0o755)
        self.machine = Machine(self.root / "artfs")
        self.count = 0
        self.open: dict[int, int] = {}  # handle: descriptor
        self.draft: Drive = trio.run(self.machine.draft, "next0")

    def teardown(self) -> None:
        for fd in self.open.values():
            os.close(fd)
        trio.run(self.machine.staging.close)
        self.machine.close()
        shutil.rmtree(self.root)

    def both(self, theirs: Callable[[], Any], ours: Callable[[], Awaitable[Any]]) -> tuple[Any, Any] | None:
        """Run a call on both; None if both failed with one errno."""
        expected, found = None, None
        wanted = got = 0
        try:
            expected = theirs()
        except OSError as error:
            wanted = error.errno or 0
        try:
            found = trio.run(ours)
        except OSError as error:
            got = error.errno or 0
        assert got == wanted, f"{errno.errorcode.get(got, got)} instead of {errno.errorcode.get(wanted, wanted)}"
        return None if wanted else (expected, found)

    def through_link(self, *given: str) -> bool:
        """Whether a path leads through a symbolic link: the kernel follows those, the driver does not."""
        return any((self.real / p).is_symlink() for path in given for p in map(str, Path(path).parents))

    @rule(path=paths)
    def mkdir(self, path: str) -> None:
        if not self.through_link(path):
            self.both(lambda: os.mkdir(self.real / path, 0o755), lambda: self.draft.mkdir(path))

    @rule(path=paths)
    def rmdir(self, path: str) -> None:
        if not self.through_link(path):
            self.both(lambda: os.rmdir(self.real / path), lambda: self.draft.rmdir(path))

    @rule(path=paths)
    def unlink(self, path: str) -> None:
        if not self.through_link(path):
            self.both(lambda: os.unlink(self.real / path), lambda: self.draft.unlink(path))

    @rule(path=paths)
    def mknod(self, path: str) -> None:
        if not self.through_link(path):
            self.both(lambda: os.mknod(self.real / path, 0o600), lambda: self.draft.mknod(path, 0o600))

    @rule(path=paths, to=st.sampled_from(("nowhere", "a", "l")))
    def symlink(self, path: str, to: str) -> None:
        if not self.through_link(path):
            self.both(lambda: os.symlink(to, self.real / path), lambda: self.draft.symlink(path, to))

    @rule(old=paths, new=paths)
    def link(self, old: str, new: str) -> None:
        if not self.through_link(old, new):
            self.both(
                lambda: os.link(self.real / old, self.real / new, follow_symlinks=False),
                lambda: self.draft.link(old, new),
            )

    @rule(old=paths, new=paths, flags=st.sampled_from((0, 0, 0, NOREPLACE, EXCHANGE)))
    def rename(self, old: str, new: str, flags: int) -> None:
        if not self.through_link(old, new):
            self.both(
                lambda: renameat2(self.real / old, self.real / new, flags),
                lambda: self.draft.rename(old, new, flags),
            )

    @rule(path=paths, data=contents)
    def write(self, path: str, data: bytes) -> None:
        if not self.through_link(path) and not (self.real / path).is_symlink():
            self.both(lambda: (self.real / path).write_bytes(data), lambda: self.draft.write(path, data))

    @rule(path=paths, size=st.integers(0, 60))
    def truncate(self, path: str, size: int) -> None:
        if not self.through_link(path) and (self.real / path).is_file() and not (self.real / path).is_symlink():
            self.both(lambda: os.truncate(self.real / path, size), lambda: self.draft.truncate(path, size))

    @rule(path=paths, mode=st.sampled_from((0o644, 0o600, 0o755)))
    def chmod(self, path: str, mode: int) -> None:
        if not self.through_link(path) and not (self.real / path).is_symlink():
            self.both(lambda: os.chmod(self.real / path, mode), lambda: self.draft.chmod(path, mode))

    @rule(path=paths, mtime_s=st.integers(0, 1 << 33))
    def utimens(self, path: str, mtime_s: int) -> None:
        if not self.through_link(path) and not (self.real / path).is_symlink():
            times = (mtime_s * 10**9 + 1, mtime_s * 10**9 + 2)
            change = AttributeChange(atime_ns=times[0], mtime_ns=times[1])
            if self.both(lambda: os.utime(self.real / path, ns=times), lambda: self.draft.setattr(path, change)):
                assert trio.run(self.draft.stat, path).mtime_ns == times[1]

    @rule(target=handles, path=paths, flags=st.sampled_from((os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC)))
    def open_file(self, path: str, flags: int) -> Any:
        if self.through_link(path) or not (self.real / path).is_file() or (self.real / path).is_symlink():
            return multiple()
        opened = self.both(lambda: os.open(self.real / path, flags), lambda: self.draft.open(path, flags))
        assert opened is not None
        self.open[opened[1]] = opened[0]
        return opened[1]

    @rule(handle=handles, offset=st.integers(0, 50), data=contents)
    def write_handle(self, handle: int, offset: int, data: bytes) -> None:
        if handle in self.open:
            done = self.both(
                lambda: os.pwrite(self.open[handle], data, offset),
                lambda: self.machine.staging.handles.write(handle, offset, data),
            )
            assert done is None or done[0] == done[1]

    @rule(handle=handles, offset=st.integers(0, 50))
    def read_handle(self, handle: int, offset: int) -> None:
        if handle in self.open:
            done = self.both(
                lambda: os.pread(self.open[handle], 30, offset),
                lambda: self.machine.staging.handles.read(handle, offset, 30),
            )
            assert done is not None
            assert done[0] == bytes(done[1])

    @rule(handle=consumes(handles))
    def close_handle(self, handle: int) -> None:
        self._close(handle)

    def _close(self, handle: int) -> None:
        if handle in self.open:
            os.close(self.open.pop(handle))
            trio.run(self.machine.staging.handles.release, handle)

    def _close_all(self) -> None:
        for handle in list(self.open):
            self._close(handle)

    @rule()
    def adopt_again(self) -> None:
        """Unmount and mount."""
        self._close_all()
        trio.run(self.machine.staging.close)
        self.machine.staging = self.machine.area()
        self.draft = self.machine.found(self.draft.place.name)

    @rule()
    def commit_and_draft_again(self) -> None:
        self._close_all()
        result = trio.run(self.draft.commit)
        assert self.machine.tree(result.version.digest) == self._real_tree()
        assert not self.machine.layout.exists(self.draft.place)
        self.count += 1
        self.draft = self.machine.draft_of(result.version, f"next{self.count}")
        self._forget_what_versions_do_not_keep()

    def _forget_what_versions_do_not_keep(self) -> None:
        """Modes but for the executable bit, and that two names are one file."""
        copy = self.root / "copy"
        shutil.copytree(self.real, copy, symlinks=True)
        shutil.rmtree(self.real)
        copy.rename(self.real)
        self.real.chmod(0o755)
        for path in self.real.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o111 else 0o644)

    def _real_tree(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in self.real.rglob("*"):
            name = path.relative_to(self.real).as_posix()
            if path.is_symlink():
                found[name] = os.readlink(path)
            else:
                found[name] = None if path.is_dir() else path.read_bytes()
        return found

    @invariant()
    def trees_are_equal(self) -> None:
        tried("a step of a random history of a draft beside a directory of this machine")
        trio.run(self._compare, self._real_tree())

    async def _compare(self, real: dict[str, object]) -> None:
        assert await self.draft.walk() == real
        for path in ("", *real):
            expected, found = os.lstat(self.real / path), await self.draft.stat(path)
            assert (found.mode, found.link_count) == (expected.st_mode, expected.st_nlink), path


StagingIsPosixTest = StagingIsPosix.TestCase
StagingIsPosixTest.settings = settings(max_examples=15, stateful_step_count=30)


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_long_histories_are_posix() -> None:
    run_state_machine_as_test(StagingIsPosix, settings=settings(max_examples=500, stateful_step_count=60))
