"""From the rows of a draft to the trees of a version, in a thread, over one unchanging view of the database.

Only directories that changed are built; an unchanged one is taken over by its digest, and in a changed one with a tree below
only the pages that differ are read and written. Decides what a version cannot hold: links that leave it. Sends nothing but pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import apsw

from artfs.errors import DamagedDatabase, UnsupportedFile
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.links import leaves_version
from artfs.model.tree import Entry, EntryKind, IndexPage, LeafPage, PageSummary, TreePage, symlink_entry
from artfs.model.tree_build import Store, build_directory, edit_directory, leaf_refs, load_leaf
from artfs.vfs.staging.inode import ROOT_NUMBER, Changed, ContentState, Inode

Load = Callable[[Digest], TreePage]

_EDITS_MAX = 20_000  # more changes than this are merged as a stream instead of held
_LINKS_NAMED = 20


class _Place(NamedTuple):
    """A directory on the way down: how deep it is, and whether it or one above was moved from where the tree below has it."""

    number: int
    depth: int
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
        self._has_links = view.execute("SELECT 1 FROM inode WHERE kind = 4").fetchone() is not None
        self._bad_links: list[str] = []

    def check_links(self) -> None:
        """Raises UnsupportedFile naming every symbolic link that is absolute or leaves the version."""
        for place in self._places():
            for name, target in self._links(place):
                if leaves_version(place.depth, target):
                    self._bad_links.append(f"{path_of(self._view, place.number, name)} -> {target}")
        if self._bad_links:
            named = ", ".join(self._bad_links[:_LINKS_NAMED])
            more = len(self._bad_links) - _LINKS_NAMED
            raise UnsupportedFile(
                f"symbolic links that are absolute or leave the version: {named}"
                + (f" and {more} more" if more > 0 else ""),
                hint="make them relative and keep them inside, or remove them",
            )

    def build(self) -> PageSummary:
        """Store what changed, children first; the summary of the root."""
        for place in reversed([place for place in self._places() if self._is_changed(place.number)]):
            self._summaries[place.number] = self._build_one(self._inode(place.number))
        root = self._inode(ROOT_NUMBER)
        return self._summaries.get(ROOT_NUMBER) or self._origin_summary(root)

    def _places(self) -> Iterator[_Place]:
        """Every directory with a row that may matter, each after the one it is in."""
        waiting = [_Place(ROOT_NUMBER, 0, False)]
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
                    waiting.append(_Place(number, place.depth + 1, moved))

    def _links(self, place: _Place) -> Iterator[tuple[str, str]]:
        sql = (
            "SELECT d.name, i.target FROM dirent d JOIN inode i ON i.number = d.inode WHERE d.parent = ? AND i.kind = ?"
        )
        if self._has_links:
            yield from self._view.execute(sql, (place.number, EntryKind.SYMLINK))
        inode = self._inode(place.number)
        if place.moved and inode.origin is not None:
            yield from self._links_below(inode, place.depth)

    def _links_below(self, inode: Inode, depth: int) -> Iterator[tuple[str, str]]:
        """Links in the tree below a directory that was moved: up there they may lead out."""
        own = {row[0] for row in self._view.execute("SELECT name FROM dirent WHERE parent = ?", (inode.number,))}
        for name, entry in self._below(Digest(inode.origin or b"")):
            if name in own:
                continue
            if entry.kind is EntryKind.SYMLINK:
                yield name, entry.target or ""
            elif entry.kind is EntryKind.DIRECTORY:
                self._check_below(inode.number, name, entry.digest, depth + 1)

    def _check_below(self, number: int, path: str, digest: Digest, depth: int) -> None:
        waiting = [(path, digest, depth)]
        while waiting:
            path, digest, depth = waiting.pop()
            for name, entry in self._below(digest):
                if entry.kind is EntryKind.DIRECTORY:
                    waiting.append((f"{path}/{name}", entry.digest, depth + 1))
                elif leaves_version(depth, entry.target or ""):
                    self._bad_links.append(f"{path_of(self._view, number, f'{path}/{name}')} -> {entry.target}")

    def _below(self, digest: Digest) -> Iterator[tuple[str, Entry]]:
        """Directories and links of a tree, which are few among its entries."""
        for page in self._leaves(self._load(digest)):
            for i, name in enumerate(page.names):
                if page.kind(i) in (EntryKind.SYMLINK, EntryKind.DIRECTORY):
                    yield name, page.entry(i)

    def _leaves(self, root: TreePage) -> Iterator[LeafPage]:
        if isinstance(root, LeafPage):
            yield root
        else:
            yield from (load_leaf(ref.summary.digest, self._load) for ref in leaf_refs(root, self._load))

    def _build_one(self, directory: Inode) -> PageSummary:
        changes = self._changes(directory)
        if directory.origin is None:
            return build_directory((entry for _, entry in changes if entry is not None), self._store)
        root = self._load(Digest(directory.origin))
        edits: dict[str, Entry | None] = {}
        for name, entry in changes:
            edits[name] = entry
            if len(edits) > _EDITS_MAX and isinstance(root, IndexPage):
                below = chain.from_iterable(page.entries() for page in self._leaves(root))
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
