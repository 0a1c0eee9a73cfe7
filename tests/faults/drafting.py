"""What a program does on a mount while its machine fails: it lists, reads, drafts and commits, and knows what it was told.

Every call may fail, with an errno that names what failed. What is told to be done is held against what is there afterwards.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Files = Mapping[str, bytes]
PART_BYTES = 60_000  # of a large file, read at once
NAME, RENAMED = "next", "next but one"


@dataclass
class Program:
    """A program at work in one artifact, on a mount.

    Args:
        artifact: its directory on the mount.
        proper: the errnos that a call may fail with.

    Attributes:
        written: what each file of the draft may hold: more than one content after a write that failed.
        is_committed: the commit was told to be done.
    """

    artifact: Path
    proper: frozenset[int]
    written: dict[str, list[bytes | None]] = field(default_factory=dict)
    has_draft: bool = False
    name: str = NAME
    is_committed: bool = False

    @property
    def draft(self) -> Path:
        return self.artifact / ".staging" / self.name

    @contextmanager
    def _may_fail(self, what: object) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in self.proper:
                raise AssertionError(f"{what}: {error}") from error

    def look(self, files: Files, version: Path) -> None:
        """List a version and read all of it."""
        with self._may_fail(f"listing {version}"):
            assert sorted(os.listdir(version)) == sorted(files)
        with self._may_fail("listing the artifact"):
            assert version.name in os.listdir(version.parent)
        for name, data in files.items():
            self.read(version / name, data)

    def read(self, path: Path, data: bytes) -> None:
        """Never wrong bytes, whatever fails."""
        with self._may_fail(f"reading {path}"):
            fd = os.open(path, os.O_RDONLY)
            try:
                assert os.fstat(fd).st_size == len(data), path
                for offset in range(0, len(data), PART_BYTES):
                    with self._may_fail(f"reading {path} at {offset}"):
                        assert _pread(fd, PART_BYTES, offset) == data[offset : offset + PART_BYTES], path
            finally:
                os.close(fd)

    def make_draft(self, files: Files, version: Path, added: Files) -> None:
        """A draft with the files of a version, linked, one of them changed, and others beside them."""
        with self._may_fail("mkdir"):
            self.draft.mkdir()
            self.has_draft = True
        if not self.has_draft:
            return
        with self._may_fail("renaming the draft"):
            self.draft.rename(self.draft.with_name(RENAMED))
            self.name = RENAMED
        for name, data in files.items():
            self._try(name, lambda name=name: os.link(version / name, self.draft / name), None, data)  # type: ignore[misc]  # called now
        changed = next(iter(files))
        if self.written[changed] == [files[changed]]:
            self._write(changed, files[changed] + b"more", os.O_WRONLY | os.O_APPEND, b"more")
        for name, data in added.items():
            self._write(name, data, os.O_WRONLY | os.O_CREAT | os.O_EXCL, data)

    def commit(self) -> None:
        if not self.has_draft or self.is_committed:
            return
        with self._may_fail("commit"):
            self.draft.rename(self.artifact / "best")
            self.is_committed = True

    def _try(self, name: str, call: Callable[[], object], before: bytes | None, after: bytes) -> None:
        self.written[name] = [before, after]
        with self._may_fail(f"{name} in the draft"):
            call()
            self.written[name] = [after]

    def _write(self, name: str, whole: bytes, flags: int, data: bytes) -> None:
        """Write it in parts and sync it; after a failure it holds what was written until then."""
        done = len(whole) - len(data)
        self.written[name] = [*self.written.get(name, [None]), whole[:done]]
        with self._may_fail(f"opening {name} to write"):
            fd = os.open(self.draft / name, flags, 0o644)
            try:
                self.written[name] = [whole[:done]]
                while done < len(whole):
                    end = min(done + PART_BYTES, len(whole))
                    self.written[name] = [whole[:done], whole[:end]]
                    begin = done
                    with self._may_fail(f"writing {name}"):
                        done += os.write(fd, whole[begin:end])
                        self.written[name] = [whole[:done]]
                    if done == begin:
                        return
                with self._may_fail(f"fsync of {name}"):
                    os.fsync(fd)
            finally:
                os.close(fd)

    # when nothing fails any more

    def check(self) -> None:
        """What was told to be done is done; the draft is complete, and can be committed."""
        self.proper = frozenset()
        if self.is_committed:
            self._compare(self.artifact / "best", "what was committed")
            return
        if not self.has_draft and not self.draft.exists():
            self.draft.mkdir()
        self.has_draft = True
        if not self.draft.exists():  # the failed call was behind the seal
            self._compare(self.artifact / "best", "what was committed after all")
            self.is_committed = True
            return
        self._compare(self.draft, "the draft")
        (self.draft / "after").write_bytes(b"all is well")
        self.written["after"] = [b"all is well"]
        self.commit()
        self._compare(self.artifact / "best", "what was committed in the end")

    def _compare(self, place: Path, what: str) -> None:
        found = {name: (place / name).read_bytes() for name in os.listdir(place)}
        for name, data in found.items():
            assert data in self.written.get(name, []), f"{what}: {name} has {len(data)} bytes"
        for name, contents in self.written.items():
            assert name in found or None in contents, f"{what}: {name} is lost"
        self.written = {name: [data] for name, data in found.items()}


def _pread(fd: int, size_bytes: int, offset: int) -> bytes:
    """A read that failed half-way is short, and the next one says why; one of nothing is the end."""
    found = b""
    while len(found) < size_bytes and (part := os.pread(fd, size_bytes - len(found), offset + len(found))):
        found += part
    return found


PROPER = {
    errno.ENOSPC: frozenset({errno.ENOSPC, errno.EIO}),
    errno.EIO: frozenset({errno.EIO}),
    errno.EMFILE: frozenset({errno.EMFILE, errno.EIO}),
    errno.ENOMEM: frozenset({errno.ENOMEM, errno.EIO}),
    errno.EAGAIN: frozenset({errno.EAGAIN, errno.EIO}),
}
"""What a call may answer while the machine answers with an errno: that one, or that input and output failed."""
