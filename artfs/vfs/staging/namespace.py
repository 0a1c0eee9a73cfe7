"""The names and inodes of a draft as rows: every change one small transaction.

Decides what each change does to link counts, times, deletions that hide the tree below, and which directories count as changed
(a directory is only marked when all directories above it are). Knows nothing of file contents and of how the tree below is
read: what is there under a name is an argument. Nothing here is awaited; the event loop owns it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from artfs.model.tree import EntryKind
from artfs.vfs.staging.index import DraftIndex
from artfs.vfs.staging.inode import Changed, Inode

_COLUMNS = 22
_INSERT = f"INSERT INTO inode VALUES ({', '.join('?' * _COLUMNS)})"
_SET_NAME = "INSERT INTO dirent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET position = ?3, inode = ?4"


class Name(NamedTuple):
    """What is under a name in a directory.

    `position` is None where nothing was ever; it is known without an inode where the tree below has the name and it was deleted.
    """

    position: int | None
    inode: Inode | None


class Listed(NamedTuple):
    """A row of a directory; `inode` None hides the entry of the tree below at this position."""

    position: int
    name: str
    inode: Inode | None


class Namespace:
    """Reads and changes rows. `clock` gives nanoseconds since the epoch."""

    def __init__(self, index: DraftIndex, clock: Callable[[], int]) -> None:
        self._index = index
        self._clock = clock

    def get(self, number: int) -> Inode | None:
        row = self._index.fetch("SELECT * FROM inode WHERE number = ?", (number,))
        return None if row is None else Inode(*row)

    def name(self, parent: int, name: str) -> Name | None:
        """The row for a name, None if there is none: then the tree below decides."""
        # Two queries: as a join they take four times as long.
        row = self._index.fetch("SELECT position, inode FROM dirent WHERE parent = ? AND name = ?", (parent, name))
        if row is None:
            return None
        position, number = row
        return Name(position, None if number is None else self.get(number))

    def home_of(self, number: int) -> tuple[Inode, int] | None:
        """The directory and the ordinal of the unchanged entry numbered `number`; None if it is none, or not any more."""
        row = self._index.fetch(
            "SELECT * FROM inode WHERE first_number <= ? ORDER BY first_number DESC LIMIT 1", (number,)
        )
        if row is None:
            return None
        home = Inode(*row)
        ordinal = number - (home.first_number or 0)
        if ordinal >= home.origin_entries or self.rows(home.number, ordinal, ordinal + 1):
            return None
        return home, ordinal

    def rows(self, parent: int, first: int, end: int, limit: int = -1) -> list[Listed]:
        """The directory's rows with positions from `first` up to but not including `end`, in order."""
        found = self._index.fetch_all(
            "SELECT d.position, d.name, i.* FROM dirent d LEFT JOIN inode i ON i.number = d.inode"
            " WHERE d.parent = ? AND d.position >= ? AND d.position < ? ORDER BY d.position LIMIT ?",
            (parent, first, end, limit),
        )
        return [Listed(row[0], row[1], None if row[2] is None else Inode(*row[2:])) for row in found]

    def is_empty(self, directory: Inode) -> bool:
        number, entries = directory.number, directory.origin_entries
        live = "SELECT 1 FROM dirent WHERE parent = ? AND inode IS NOT NULL LIMIT 1"
        if self._index.fetch(live, (number,)) is not None:
            return False
        hidden = "SELECT count(*) FROM dirent WHERE parent = ? AND position < ?"
        return entries == 0 or bool(self._index.fetch_one(hidden, (number, entries))[0] == entries)

    def keep(self, inode: Inode, name: str) -> None:
        """Give an unchanged entry a row of its own. Only for a file does that count as a change of its directory."""
        assert inode.lower is not None
        parent = inode.lower_parent
        with self._index.transaction():
            self._insert(inode)
            self._index.execute(_SET_NAME, (parent, name, inode.lower.ordinal, inode.number))
            for key, value in inode.lower_xattrs.items():
                self._index.execute("INSERT INTO xattr VALUES (?, ?, ?)", (inode.number, key, value))
            if not inode.is_directory:
                self._mark(parent)
        inode.lower = None

    def add(self, parent: Inode, name: str, inode: Inode, position: int | None, xattrs: dict[str, bytes]) -> None:
        """A new inode under a free name; `position` is that of the hidden entry below, if any."""
        position = self._position(parent, position)
        with self._index.transaction():
            self._insert(inode)
            self._index.execute(_SET_NAME, (parent.number, name, position, inode.number))
            for key, value in xattrs.items():
                self._index.execute("INSERT INTO xattr VALUES (?, ?, ?)", (inode.number, key, value))
            self._touch(parent, links=int(inode.is_directory))

    def link(self, parent: Inode, name: str, inode: Inode, position: int | None) -> None:
        """Another name for an inode that has a row."""
        position = self._position(parent, position)
        with self._index.transaction():
            self._index.execute(_SET_NAME, (parent.number, name, position, inode.number))
            self._index.execute(
                "UPDATE inode SET link_count = link_count + 1, ctime_ns = ? WHERE number = ?",
                (self._clock(), inode.number),
            )
            self._touch(parent)

    def remove(self, parent: Inode, name: str, found: Name) -> None:
        """Take a name away from an inode that has a row; a directory must be empty."""
        assert found.inode is not None
        assert found.position is not None
        with self._index.transaction():
            self._clear(parent, name, found.position)
            self._unlink(found.inode)
            self._touch(parent, links=-int(found.inode.is_directory))

    def move(self, source: tuple[Inode, str, Name], target: tuple[Inode, str, Name]) -> None:
        """rename(2) onto a free name or in place of what is there; what is there must be fit to be replaced."""
        (old_parent, old_name, old), (new_parent, new_name, new) = source, target
        moved = old.inode
        assert moved is not None
        assert old.position is not None
        position = self._position(new_parent, None if new.position is None else new.position)
        directory = int(moved.is_directory)
        with self._index.transaction():
            if new.inode is not None:
                self._unlink(new.inode)
            self._clear(old_parent, old_name, old.position)
            self._index.execute(_SET_NAME, (new_parent.number, new_name, position, moved.number))
            self._place(moved, new_parent)
            self._touch(old_parent, links=-directory)
            self._touch(new_parent, links=directory - int(new.inode is not None and new.inode.is_directory))

    def exchange(self, first: tuple[Inode, str, Name], second: tuple[Inode, str, Name]) -> None:
        """renameat2(RENAME_EXCHANGE): the two names keep their places and swap what they name."""
        (parent_1, name_1, found_1), (parent_2, name_2, found_2) = first, second
        inode_1, inode_2 = found_1.inode, found_2.inode
        assert inode_1 is not None
        assert inode_2 is not None
        set_inode = "UPDATE dirent SET inode = ? WHERE parent = ? AND name = ?"
        gained = int(inode_2.is_directory) - int(inode_1.is_directory)
        with self._index.transaction():
            self._index.execute(set_inode, (inode_2.number, parent_1.number, name_1))
            self._index.execute(set_inode, (inode_1.number, parent_2.number, name_2))
            self._place(inode_1, parent_2)
            self._place(inode_2, parent_1)
            self._touch(parent_1, links=gained)
            self._touch(parent_2, links=-gained)

    def note_changed(self, inode: Inode, what: Changed) -> None:
        """Within a transaction: attributes of the inode that belong to its entry are different now."""
        now = self._clock()
        changed = what if inode.is_directory else 0
        self._index.execute(
            "UPDATE inode SET ctime_ns = ?, changed = changed | ? WHERE number = ?", (now, changed, inode.number)
        )
        self._mark(inode.parent)

    def _position(self, parent: Inode, hidden: int | None) -> int:
        return parent.origin_entries + self._index.take_numbers(1) if hidden is None else hidden

    def _insert(self, inode: Inode) -> None:
        self._index.execute(_INSERT, row_of(inode))

    def _clear(self, parent: Inode, name: str, position: int) -> None:
        if position < parent.origin_entries:
            self._index.execute("UPDATE dirent SET inode = NULL WHERE parent = ? AND name = ?", (parent.number, name))
        else:
            self._index.execute("DELETE FROM dirent WHERE parent = ? AND name = ?", (parent.number, name))

    def _unlink(self, inode: Inode) -> None:
        links = 0 if inode.is_directory else inode.link_count - 1
        now = self._clock()
        self._index.execute(
            "UPDATE inode SET link_count = ?, ctime_ns = ? WHERE number = ?", (links, now, inode.number)
        )

    def _place(self, inode: Inode, parent: Inode) -> None:
        where = parent.number if inode.is_directory else 0
        self._index.execute(
            "UPDATE inode SET ctime_ns = ?, parent = ? WHERE number = ?", (self._clock(), where, inode.number)
        )

    def _touch(self, directory: Inode, links: int = 0) -> None:
        # A link count of 1 says that nobody counted the directories inside, as ext4 does for large ones.
        now = self._clock()
        self._index.execute(
            "UPDATE inode SET mtime_ns = ?1, ctime_ns = ?1, link_count = link_count + iif(link_count > 1, ?2, 0)"
            " WHERE number = ?3",
            (now, links, directory.number),
        )
        if not directory.changed & Changed.CONTENTS:
            self._mark(directory.number)

    def _mark(self, number: int) -> None:
        while number != 0:
            marked = self._index.execute(
                "UPDATE inode SET changed = changed | 1 WHERE number = ? AND changed & 1 = 0", (number,)
            )
            if not marked:
                return
            number = self._index.fetch_one("SELECT parent FROM inode WHERE number = ?", (number,))[0]


def is_below(index: DraftIndex, number: int, ancestor: int) -> bool:
    """Whether directory `number` is `ancestor` or somewhere under it."""
    while number != 0:
        if number == ancestor:
            return True
        row = index.fetch("SELECT parent FROM inode WHERE number = ?", (number,))
        number = 0 if row is None else row[0]
    return False


def row_of(inode: Inode) -> tuple[Any, ...]:
    """The columns of an inode, for INSERT."""
    return (
        inode.number,
        inode.kind,
        inode.mode,
        inode.uid,
        inode.gid,
        inode.link_count,
        inode.atime_ns,
        inode.mtime_ns,
        inode.ctime_ns,
        inode.changed,
        inode.parent,
        inode.target,
        inode.origin,
        inode.origin_entries,
        inode.first_number,
        inode.content_state,
        inode.content_kind,
        inode.content_digest,
        inode.content_bytes,
        inode.content_session,
        inode.stamp_mtime_ns,
        inode.stamp_ctime_ns,
    )


def new_directory(number: int, parent: int, mode: int, owner: tuple[int, int], now_ns: int) -> Inode:
    """An empty directory that has nothing below."""
    uid, gid = owner
    return Inode(
        number, EntryKind.DIRECTORY, mode, uid, gid, 2, now_ns, now_ns, now_ns, changed=Changed.CONTENTS, parent=parent
    )
