"""The trees of a version that is made of entries by path, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby, pairwise

from artfs.errors import PathConflict
from artfs.model.digest import Digest
from artfs.model.names import split_path
from artfs.model.tree import Entry, EntryKind, PageSummary
from artfs.model.tree_build import Store, build_directory

_Placed = tuple[tuple[str, ...], Entry]


def build_tree(entries: Iterable[tuple[str, Entry]], store: Store) -> Digest:
    """Store the pages of all directories, children first; the root's digest.

    Args:
        entries: paths in the version, and what is there; an entry's own name does not matter.

    Raises PathConflict for two things at one path, or a file where a directory must be.
    """
    placed = sorted(((split_path(path), entry) for path, entry in entries), key=lambda one: one[0])
    for (path, _), (following, _) in pairwise(placed):
        if following[: len(path)] == path:
            raise PathConflict(
                f"{'/'.join(following)!r} conflicts with {'/'.join(path)!r}", hint="give one of them another path"
            )
    return _build(placed, 0, store).digest


def _build(placed: list[_Placed], depth: int, store: Store) -> PageSummary:
    return build_directory(_entries(placed, depth, store), store)


def _entries(placed: list[_Placed], depth: int, store: Store) -> Iterator[Entry]:
    for name, group in groupby(placed, key=lambda one: one[0][depth]):
        below = list(group)
        path, entry = below[0]
        if len(path) == depth + 1:
            yield replace(entry, name=name)
            continue
        summary = _build(below, depth + 1, store)
        yield Entry(name, EntryKind.DIRECTORY, summary.digest, summary.size_bytes, file_count=summary.file_count)
