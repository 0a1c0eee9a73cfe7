"""Which symbolic links of a draft leave it. In a thread, over one unchanging view of the database.

Where a link leads depends on links alone. Those of the version below were judged when that was committed; they are looked at
again only if the draft has added, changed, moved or removed a link. Then all are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import apsw

from artfs.errors import UnsupportedFile
from artfs.model.digest import Digest
from artfs.model.links import Names, way_out
from artfs.model.tree import Entry, EntryKind, directories_and_links
from artfs.model.tree_build import Load, find_entry, leaf_pages
from artfs.vfs.staging.inode import ROOT_NUMBER, Changed

_NAMED_MAX = 20
_SPECIAL = (EntryKind.SYMLINK, EntryKind.DIRECTORY)
_COLUMNS = "i.kind, i.target, i.number, i.origin, i.origin_entries, i.first_number, i.changed"


class _Spot(NamedTuple):
    """What is at a path. A directory has a row, a tree below, or both."""

    kind: int
    target: str | None = None
    number: int | None = None
    origin: bytes | None = None
    origin_entries: int = 0
    first_number: int | None = None
    changed: int = 0

    @classmethod
    def of(cls, entry: Entry) -> _Spot:
        is_directory = entry.kind is EntryKind.DIRECTORY
        return cls(entry.kind, entry.target, origin=entry.digest if is_directory else None)


class LinkCheck:
    """Checks the links of one draft.

    Args:
        view: a connection in a read transaction.
        load: reads a page of the version below.
    """

    def __init__(self, view: apsw.Connection, load: Load) -> None:
        self._view = view
        self._load = load
        sql = f"SELECT {_COLUMNS} FROM inode i WHERE number = ?"
        (self._root,) = (_Spot(*row) for row in view.execute(sql, (ROOT_NUMBER,)))
        self._differ = False  # its links from those of the version below

    def run(self) -> None:
        """Raises UnsupportedFile naming symbolic links that are absolute or leave the version."""
        has_links = self._view.execute("SELECT 1 FROM inode WHERE kind = 4").fetchone() is not None
        if not has_links and self._root.origin is None:
            return
        leaving = list(self._leaving(everywhere=False))
        if self._differ and self._root.origin is not None:
            leaving = list(self._leaving(everywhere=True))
        if leaving:
            more = f" and {len(leaving) - _NAMED_MAX} more" if len(leaving) > _NAMED_MAX else ""
            raise UnsupportedFile(
                f"symbolic links that are absolute or leave the version: {', '.join(leaving[:_NAMED_MAX])}{more}",
                hint="make them relative and keep them inside, or remove them",
            )

    def _leaving(self, *, everywhere: bool) -> Iterator[str]:
        for directory, name, target in self._links(everywhere):
            leads_to = way_out(directory, target, self._target_at)
            if leads_to is not None:
                told = "/".join((*directory, name)) + f" -> {target}"
                yield told if leads_to == target else f"{told} (which leads to {leads_to} from the root)"

    def _links(self, everywhere: bool) -> Iterator[tuple[Names, str, str]]:
        """Directory, name and target of the links that have a row in a directory that was changed; or of all."""
        waiting: list[tuple[Names, _Spot]] = [((), self._root)]
        while waiting:
            names, directory = waiting.pop()
            hidden: set[str] = set()
            for name, spot, stays in self._rows(directory, hidden):
                if spot.kind == EntryKind.SYMLINK:
                    yield names, name, spot.target or ""
                elif everywhere or not stays or spot.changed & Changed.CONTENTS:
                    waiting.append(((*names, name), spot))
            for entry in self._below(directory.origin) if everywhere else ():
                if entry.name in hidden:
                    continue
                if entry.kind is EntryKind.SYMLINK:
                    yield names, entry.name, entry.target or ""
                else:
                    waiting.append(((*names, entry.name), _Spot.of(entry)))

    def _rows(self, directory: _Spot, hidden: set[str]) -> Iterator[tuple[str, _Spot, bool]]:
        """Links and directories with a row, and whether they are where the tree below has them.

        Names that the tree below has too go to `hidden`. Notices if links differ; a directory that was moved has left its place.
        """
        if directory.number is None:
            return
        sql = (
            f"SELECT d.name, d.position, {_COLUMNS} FROM dirent d LEFT JOIN inode i ON i.number = d.inode"
            " WHERE d.parent = ? AND (d.position < ? OR i.kind IN (3, 4))"
        )
        for name, position, *columns in self._view.execute(sql, (directory.number, directory.origin_entries)):
            spot = _Spot(*columns)
            is_hiding = position < directory.origin_entries
            if is_hiding:
                hidden.add(name)
            stays = directory.first_number is not None and spot.number == directory.first_number + position
            if not stays and not self._differ:
                self._differ = self._is_other(self._entry_below(directory, name) if is_hiding else None, spot)
            if spot.kind in _SPECIAL:
                yield name, spot, stays

    def _is_other(self, below: Entry | None, now: _Spot) -> bool:
        """Whether what is `now` in the place of what is `below` is another link, or hides links."""
        if (None if below is None else below.target) != now.target:
            return True
        if below is None or below.kind is not EntryKind.DIRECTORY:
            return False
        waiting = [below.digest]
        while waiting:
            for entry in self._below(waiting.pop()):
                if entry.kind is EntryKind.SYMLINK:
                    return True
                waiting.append(entry.digest)
        return False

    def _target_at(self, names: Names) -> str | None:
        spot = self._at(names)
        return None if spot is None else spot.target

    def _at(self, names: Names) -> _Spot | None:
        """What is at a path, if it is a link or directory."""
        spot = self._root
        for name in names:
            found = self._in(spot, name) if spot.kind == EntryKind.DIRECTORY else None
            if found is None or found.kind not in _SPECIAL:
                return None
            spot = found
        return spot

    def _in(self, directory: _Spot, name: str) -> _Spot | None:
        if directory.number is not None:
            sql = (
                f"SELECT {_COLUMNS} FROM dirent d LEFT JOIN inode i ON i.number = d.inode"
                " WHERE d.parent = ? AND d.name = ?"
            )
            row = self._view.execute(sql, (directory.number, name)).fetchone()
            if row is not None:
                return _Spot(*row)
        entry = self._entry_below(directory, name)
        return None if entry is None else _Spot.of(entry)

    def _entry_below(self, directory: _Spot, name: str) -> Entry | None:
        if directory.origin is None:
            return None
        return find_entry(self._load(Digest(directory.origin)), name, self._load)

    def _below(self, origin: bytes | None) -> Iterator[Entry]:
        """Directories and links of a tree, which are few among its entries."""
        if origin is None:
            return
        for page in leaf_pages(self._load(Digest(origin)), self._load):
            for i in directories_and_links(page):
                yield page.entry(i)
