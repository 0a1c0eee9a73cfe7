"""From the rows of a draft to the trees of a version, in a thread, over one unchanging view of the database.

Only directories that changed are built; an unchanged one is taken over by its digest, and in a changed one with a tree below
only the pages that differ are read and written. Sends nothing but pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import apsw

from artfs.errors import DamagedDatabase
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.tree import Entry, EntryKind, IndexPage, PageSummary, symlink_entry
from artfs.model.tree_build import Load, Store, build_directory, edit_directory, leaf_pages
from artfs.vfs.staging.inode import ROOT_NUMBER, Changed, ContentState, Inode

_EDITS_MAX = 20_000  # more changes than this are merged as a stream instead of held


class _Place(NamedTuple):
    """A directory on the way down, and whether it or one above was moved from where the tree below has it."""

    number: int
    moved: bool


class TreeBuilder:
    """Builds the trees of one draft.

    Args:
        view: a connection in a read transaction.
        load: reads a page of the version below.
        store: sends a page; children come before parents.
    """

    def __init__(self, view: apsw.Connection, load: Load, store: Store) -> None:
        self._view = view
        self._load = load
        self._store = store
        self._summaries: dict[int, PageSummary] = {}
        self._with_xattrs = {row[0] for row in view.execute("SELECT DISTINCT inode FROM xattr")}

    def build(self) -> PageSummary:
        """Store what changed, children first; the summary of the root."""
        for place in reversed([place for place in self._places() if self._is_changed(place.number)]):
            self._summaries[place.number] = self._build_one(self._inode(place.number))
        root = self._inode(ROOT_NUMBER)
        return self._summaries.get(ROOT_NUMBER) or self._origin_summary(root)

    def _places(self) -> Iterator[_Place]:
        """Every directory with a row that may matter, each after the one it is in."""
        waiting = [_Place(ROOT_NUMBER, False)]
        sql = (
            "SELECT i.number, i.changed, EXISTS (SELECT 1 FROM dirent d"
            " WHERE d.parent = p.number AND d.position = i.number - p.first_number AND d.inode = i.number)"
            " FROM inode i JOIN inode p ON p.number = i.parent WHERE i.parent = ? AND i.kind = 3 AND i.link_count > 0"
        )
        while waiting:
            place = waiting.pop()
            yield place
            for number, changed, stays in self._view.execute(sql, (place.number,)):
                moved = place.moved or not stays
                if changed & Changed.CONTENTS or moved:
                    waiting.append(_Place(number, moved))

    def _build_one(self, directory: Inode) -> PageSummary:
        changes = self._changes(directory)
        if directory.origin is None:
            return build_directory((entry for _, entry in changes if entry is not None), self._store)
        root = self._load(Digest(directory.origin))
        edits: dict[str, Entry | None] = {}
        for name, entry in changes:
            edits[name] = entry
            if len(edits) > _EDITS_MAX and isinstance(root, IndexPage):
                below = chain.from_iterable(page.entries() for page in leaf_pages(root, self._load))
                return build_directory(merge(below, chain(edits.items(), changes)), self._store)
        return edit_directory(root, edits, self._load, self._store)

    def _changes(self, directory: Inode) -> Iterator[tuple[str, Entry | None]]:
        """The directory's rows by name, in order; None for what was deleted."""
        sql = (
            "SELECT d.name, d.position, i.* FROM dirent d LEFT JOIN inode i ON i.number = d.inode"
            " WHERE d.parent = ? ORDER BY d.name"
        )
        for row in self._view.execute(sql, (directory.number,)):
            name, position = row[0], row[1]
            if row[2] is None:
                yield name, None
                continue
            inode = Inode(*row[2:])
            stays = directory.first_number is not None and inode.number == directory.first_number + position
            if not (inode.is_directory and stays and not inode.changed):
                yield name, self._entry(name, inode)

    def _entry(self, name: str, inode: Inode) -> Entry:
        xattrs = self._xattrs(inode.number) if inode.number in self._with_xattrs else {}
        if inode.kind == EntryKind.SYMLINK:
            return symlink_entry(name, inode.target or "", xattrs)
        if inode.kind == EntryKind.DIRECTORY:
            summary = self._summaries.pop(inode.number, None) or self._origin_summary(inode)
            return Entry(
                name,
                EntryKind.DIRECTORY,
                summary.digest,
                summary.size_bytes,
                file_count=summary.file_count,
                xattrs=xattrs,
            )
        content = inode.content
        if content is None:
            raise DamagedDatabase(f"{name!r} was not sent before its directory was built")
        executable = bool(inode.mode & 0o111)
        return Entry(name, content.kind, content.digest, content.size_bytes, executable, xattrs=xattrs)

    def _xattrs(self, number: int) -> dict[str, bytes]:
        rows = self._view.execute("SELECT name, value FROM xattr WHERE inode = ? ORDER BY name", (number,))
        return {name: bytes(value) for name, value in rows}

    def _origin_summary(self, inode: Inode) -> PageSummary:
        digest = Digest(inode.origin or b"")
        return self._load(digest).summary(digest)

    def _is_changed(self, number: int) -> bool:
        row = self._view.execute("SELECT changed FROM inode WHERE number = ?", (number,)).fetchone()
        return row is not None and bool(row[0] & Changed.CONTENTS)

    def _inode(self, number: int) -> Inode:
        row = self._view.execute("SELECT * FROM inode WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise DamagedDatabase(f"the draft lacks directory {number}")
        return Inode(*row)


def merge(below: Iterable[Entry], changes: Iterable[tuple[str, Entry | None]]) -> Iterator[Entry]:
    """Entries by name with changes by name put in their place, both sorted, as a stream."""
    waiting = iter(changes)
    name, change = next(waiting, (None, None))
    for entry in below:
        while name is not None and name < entry.name:
            if change is not None:
                yield change
            name, change = next(waiting, (None, None))
        if name == entry.name:
            if change is not None:
                yield change
            name, change = next(waiting, (None, None))
        else:
            yield entry
    while name is not None:
        if change is not None:
            yield change
        name, change = next(waiting, (None, None))


def unsent_files(view: apsw.Connection, session_id: int, is_as_sent: Callable[[Inode], bool]) -> list[int]:
    """Numbers of the files that the registry must still be sent: those never sent, and those that another process sent but that
    are not any more what was sent.
    """
    sql = "SELECT number FROM inode WHERE content_state = ? AND link_count > 0 ORDER BY number"
    unsent = [row[0] for row in view.execute(sql, (ContentState.UNSENT,))]
    sql = "SELECT * FROM inode WHERE content_state = ? AND content_session != ? AND link_count > 0"
    doubtful = (Inode(*row) for row in view.execute(sql, (ContentState.SENT, session_id)))
    return unsent + [inode.number for inode in doubtful if not is_as_sent(inode)]


def foreign_contents(view: apsw.Connection, session_id: int) -> list[FileContent]:
    """Contents that this upload did not send itself: of versions, or sent by a process before."""
    sql = (
        "SELECT DISTINCT content_kind, content_digest, content_bytes FROM inode"
        " WHERE content_kind IS NOT NULL AND content_session != ? AND link_count > 0"
    )
    rows = view.execute(sql, (session_id,))
    return [FileContent(EntryKind(kind), Digest(digest), size) for kind, digest, size in rows]


def holders_of(view: apsw.Connection, contents: list[FileContent]) -> list[Inode]:
    """The files that hold any of `contents`."""
    found = []
    for content in contents:
        sql = "SELECT * FROM inode WHERE content_digest = ? AND content_kind = ? AND link_count > 0"
        found += [Inode(*row) for row in view.execute(sql, (content.digest, content.kind))]
    return found


def path_of(view: apsw.Connection, directory: int, name: str) -> str:
    """Where a name is, from the draft's root."""
    parts = [name]
    while directory != ROOT_NUMBER:
        row = view.execute("SELECT parent, name FROM dirent WHERE inode = ?", (directory,)).fetchone()
        if row is None:
            break
        directory = row[0]
        parts.append(row[1])
    return "/".join(reversed(parts))
