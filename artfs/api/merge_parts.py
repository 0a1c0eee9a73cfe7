"""The union of what several writers contributed to one version. Pure: pages are read and stored through arguments.

The result is that of the set of parts: neither their order nor their number matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from typing import Any

from artfs.errors import Conflict, PathConflict
from artfs.model.digest import Digest
from artfs.model.tree import Entry, EntryKind
from artfs.model.tree_build import DirectoryBuilder, Store
from artfs.wire.runs import Part

CONFLICTS_NAMED_MAX = 20

List = Callable[[Digest], Iterator[Entry]]
"""The entries of a directory, sorted by name."""


class _Directory:
    """A directory of the result under way: the same directory of several parts."""

    def __init__(self, path: str, digests: Iterable[Digest], entries_of: List, store: Store) -> None:
        self.path = path
        self.builder = DirectoryBuilder(store)
        streams = [entries_of(digest) for digest in sorted(set(digests))]
        self.names = groupby(merge(*streams, key=_name), key=_name)

    def below(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


def merge_trees(roots: Sequence[Digest], entries_of: List, store: Store) -> Digest:
    """The root of the union of trees; what only one of them has is not read.

    Raises PathConflict naming the paths that have different content in two trees, or are a directory in one alone.
    """
    conflicts: list[str] = []
    stack = [_Directory("", roots, entries_of, store)]
    while True:
        directory = stack[-1]
        name, group = next(directory.names, (None, None))
        if name is None or group is None:
            stack.pop()
            summary = directory.builder.finish()
            if not stack:
                _raise_any(conflicts)
                return summary.digest
            entry = Entry(
                directory.path.rpartition("/")[2],
                EntryKind.DIRECTORY,
                summary.digest,
                summary.size_bytes,
                file_count=summary.file_count,
            )
            stack[-1].builder.add(entry)
            continue
        entries = _distinct(group)
        if len(entries) == 1:
            directory.builder.add(entries[0])
        elif all(entry.kind is EntryKind.DIRECTORY and not entry.xattrs for entry in entries):
            digests = [entry.digest for entry in entries]
            stack.append(_Directory(directory.below(name), digests, entries_of, store))
        else:
            conflicts.append(directory.below(name))


def merge_metadata(parts: Iterable[Part]) -> dict[str, Any]:
    """All keys of all parts, sorted. Raises Conflict naming the keys that have different values in two."""
    found: dict[str, Any] = {}
    differing: set[str] = set()
    for part in parts:
        for key, value in part.metadata.items():
            if found.setdefault(key, value) != value:
                differing.add(key)
    if differing:
        raise Conflict(
            f"writers gave different metadata for {', '.join(map(repr, sorted(differing)))}",
            hint="let each writer set keys of its own",
        )
    return {key: found[key] for key in sorted(found)}


def merge_descriptions(parts: Iterable[Part]) -> str | None:
    """The description that a part gives, None if none does. Raises Conflict if two differ."""
    found = sorted({part.description for part in parts if part.description})
    if len(found) > 1:
        raise Conflict(f"writers gave different descriptions: {found[0]!r}, {found[1]!r}", hint="let one describe it")
    return found[0] if found else None


def merge_aliases(parts: Iterable[Part]) -> list[str]:
    return sorted({alias for part in parts for alias in part.aliases})


def _distinct(entries: Iterable[Entry]) -> list[Entry]:
    found: list[Entry] = []
    for entry in entries:
        if entry not in found:
            found.append(entry)
    return found


def _raise_any(conflicts: list[str]) -> None:
    if conflicts:
        more = len(conflicts) - CONFLICTS_NAMED_MAX
        named = "".join(f"\n  {path}" for path in conflicts[:CONFLICTS_NAMED_MAX])
        rest = f"\n  and {more} more" if more > 0 else ""
        raise PathConflict(
            f"writers contributed different content for the same path:{named}{rest}",
            hint="let each writer add paths of its own, then write with another group",
        )


def _name(entry: Entry) -> str:
    return entry.name
