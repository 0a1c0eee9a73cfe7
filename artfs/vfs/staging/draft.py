"""One open draft: its database, its data files, what is open in it, and whether it may be changed now.

Holds what the operations share and the few steps that several of them need. Owner of everything in it: the event loop.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from artfs.errors import Busy, InvalidName
from artfs.model.digest import Digest
from artfs.model.lineage import VersionRef
from artfs.vfs.attributes import BLOCK_BYTES, Attributes
from artfs.vfs.door import Door
from artfs.vfs.ports import ObjectSource
from artfs.vfs.staging.contents import DataFiles, OpenInode, OpenInodes
from artfs.vfs.staging.index import DraftIndex, create_index
from artfs.vfs.staging.inode import (
    NUMBER_MASK,
    ROOT_NUMBER,
    ContentState,
    Inode,
    plain_attributes,
    slot_of,
)
from artfs.vfs.staging.layout import DraftLock
from artfs.vfs.staging.lower import Lower
from artfs.vfs.staging.namespace import Namespace, new_directory, row_of
from artfs.vfs.staging.resolve import Resolver
from artfs.vfs.staging.state import DraftState
from artfs.vfs.staging.turns import Turns
from artfs.vfs.staging_port import DraftPlace

Clock = Callable[[], int]


class Resources(NamedTuple):
    """What every draft needs from outside. `clock` gives nanoseconds since the epoch."""

    source: ObjectSource
    door: Door
    clock: Clock


class Base(NamedTuple):
    """The version that a draft starts from."""

    root: Digest
    entry_count: int
    link_count: int
    mtime_ns: int
    version: str


class Draft:
    """An adopted draft.

    Attributes:
        place: where it is; changes with a rename.
        changing: held by whoever changes names.
        sealing: a commit is under way; nothing may be changed.
        gone: committed or removed; every inode is stale.
        error: why the last commit failed, in words.
        base: the version that it was made of, as far as is known.
    """

    def __init__(self, place: DraftPlace, slot: int, directory: Path, lock: DraftLock, resources: Resources) -> None:
        self.place = place
        self.slot = slot
        self.directory = directory
        self._lock = lock
        self._door = resources.door
        self.clock = resources.clock
        self.index = DraftIndex(directory)
        self.namespace = Namespace(self.index, resources.clock)
        self.lower = Lower(resources.source, place.project, resources.door)
        self.resolver = Resolver(self.index, self.namespace, self.lower)
        self.files = DataFiles(directory)
        self.open_inodes = OpenInodes()
        self.changing = Turns()
        self.sealing = False
        self.gone = False
        self._forgotten: set[int] = set()
        row = self.index.fetch("SELECT value FROM meta WHERE key = 'error'", ())
        self.error = "" if row is None else str(row[0])
        self.base = _base_of(self.index)

    def recover(self) -> None:
        """After adoption: finish what the last process could not."""
        orphans = self.index.fetch_all("SELECT number FROM inode WHERE link_count = 0", ())
        for row in orphans:
            self._purge(row[0])
        doubtful = self.index.doubtful_numbers
        rows = self.index.fetch_all("SELECT number FROM inode WHERE number >= ?", (doubtful.start,))
        known = {row[0] for row in rows}
        self.files.sweep(number for number in doubtful if number not in known)

    @property
    def state(self) -> DraftState:
        if self.sealing:
            return DraftState.COMMITTING
        return DraftState.FAILED if self.error else DraftState.OPEN

    def check_writable(self) -> None:
        """Raises OSError EBUSY during a commit, ESTALE after one."""
        self.check_there()
        if self.sealing:
            raise Busy(f"{self.place} is being committed", hint="wait until the rename returns")

    def check_there(self) -> None:
        if self.gone:
            raise OSError(errno.ESTALE, f"{self.place} was committed or removed")

    def number(self, inode: int) -> int:
        """The number within this draft of what the kernel calls `inode`. Raises OSError EXDEV if it is of another."""
        if slot_of(inode) != self.slot:
            raise OSError(errno.EXDEV, "in another staging directory")
        return inode & NUMBER_MASK

    def attributes(self, inode: Inode) -> Attributes:
        """What stat shows. The data file of a file that has one knows its size and times best."""
        attributes = plain_attributes(inode, self.slot)
        if inode.content_state in (ContentState.UNSENT, ContentState.SENT):
            found = self.files.stat(inode.number)
            attributes.size_bytes = found.st_size
            attributes.block_count = found.st_blocks * 512 // BLOCK_BYTES
            attributes.atime_ns = found.st_atime_ns
            attributes.mtime_ns = found.st_mtime_ns
            attributes.ctime_ns = max(inode.ctime_ns, found.st_ctime_ns)
        return attributes

    def set_unsent(self, number: int) -> None:
        """From now on only the data file tells what the file holds."""
        self.index.execute(
            "UPDATE inode SET content_state = ?, content_kind = NULL, content_digest = NULL, content_bytes = 0,"
            " content_session = 0 WHERE number = ? AND content_state != ?1",
            (ContentState.UNSENT, number),
        )

    def forget(self, number: int) -> None:
        """The kernel no longer refers to an inode: if it has no name either, it is gone."""
        if self.gone:
            return
        found = self.index.fetch("SELECT link_count FROM inode WHERE number = ?", (number,))
        if found is None or found[0] != 0:
            return
        if self.open_inodes.get(number) is None:
            self._purge(number)
        else:
            self._forgotten.add(number)

    def close_inode(self, held: OpenInode) -> None:
        """One handle less; the last one of a forgotten inode ends it."""
        self.open_inodes.drop(held)
        if held.handles == 0 and held.number in self._forgotten and not self.gone:
            self._forgotten.discard(held.number)
            self._purge(held.number)

    def move(self, rename: Callable[[], None], place: DraftPlace, directory: Path) -> None:
        """Have `rename` move the draft to `place`, whose directory is `directory`. Nothing else may use it meanwhile."""
        self.index.move(rename, directory)
        self.place = place
        self.directory = directory
        self.files.moved(directory)

    def sync(self) -> None:
        """Make every change made so far durable, but for the bytes of files. In a thread."""
        self.files.sync_names()
        self.index.sync()

    def close(self) -> None:
        """Give the draft back. What is open for reading stays open."""
        self.gone = True
        try:
            self.index.close()
        finally:
            self._lock.release()

    def _purge(self, number: int) -> None:
        with self.index.transaction():
            self.index.execute("DELETE FROM inode WHERE number = ? AND link_count = 0", (number,))
            self.index.execute("DELETE FROM xattr WHERE inode = ?", (number,))
        self.files.remove(number)


def _base_of(index: DraftIndex) -> VersionRef | None:
    row = index.fetch("SELECT value FROM meta WHERE key = 'base'", ())
    try:
        return None if row is None else VersionRef.parse(str(row[0]))
    except InvalidName:
        return None  # an earlier artfs kept only the number


def fill_draft(owner: tuple[int, int], mode: int, base: Base | None, now_ns: int) -> Callable[[Path], None]:
    """What writes the first database of a draft, for `StagingRoot.create`."""

    def fill(directory: Path) -> None:
        root = new_directory(ROOT_NUMBER, 0, mode & 0o777, owner, now_ns)
        index = create_index(directory)
        try:
            if base is not None:
                root.origin, root.origin_entries, root.changed = base.root, base.entry_count, 0
                root.link_count, root.mtime_ns = base.link_count, base.mtime_ns
                root.first_number = index.take_numbers(base.entry_count) if base.entry_count else None
            columns = row_of(root)
            with index.transaction():
                index.execute(f"INSERT INTO inode VALUES ({', '.join('?' * len(columns))})", columns)
                if base is not None:
                    index.execute("INSERT INTO meta VALUES ('base', ?)", (base.version,))
        finally:
            index.close()

    return fill
