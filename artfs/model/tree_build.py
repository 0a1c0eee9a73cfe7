"""Building and editing directories as pages (a prolly tree over names).

A directory of at most `SINGLE_PAGE_ENTRIES` is one page. A larger one is cut before every name whose CRC-32 is a multiple of
`PAGE_ENTRIES_MEAN`, so where a page ends depends on the names around it alone: one changed entry changes one page, and
the same set of entries gives the same pages whatever edits led there. Runs without such a name (chance, or an adversary) are
cut every `PAGE_ENTRIES_CUT` entries once they exceed `PAGE_ENTRIES_MAX`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar
from zlib import crc32

from artfs.errors import DamagedObject
from artfs.model.digest import Digest
from artfs.model.tree import (
    Entry,
    IndexPage,
    LeafPage,
    PageSummary,
    TreePage,
    encode_index,
    encode_leaf,
)

PAGE_ENTRIES_MEAN = 1024
PAGE_ENTRIES_MAX = 4096
PAGE_ENTRIES_CUT = 2048
SINGLE_PAGE_ENTRIES = 2048
INDEX_FANOUT_MEAN = 512
INDEX_ENTRIES_MAX = 2048


Load = Callable[[Digest], TreePage]
"""Reads a page by digest."""

Store = Callable[[bytes], Digest]
"""Keeps one page's bytes and returns their digest; children come before parents."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _PageRef:
    first: str
    summary: PageSummary


def starts_page(name: str, level: int = 0) -> bool:
    """Whether a page of `level` is cut before `name`."""
    return not crc32(name.encode("utf-8")) % (PAGE_ENTRIES_MEAN * int(INDEX_FANOUT_MEAN**level))


class DirectoryBuilder:
    """Writes a directory's pages while its entries come; holds at most about two pages of entries.

    Args:
        store: takes the bytes of a page, returns its digest.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: list[Entry] = []
        self._pages: list[_PageRef] = []
        self._is_paged = False
        self._is_cut = False  # the run in hand exceeded PAGE_ENTRIES_MAX: it is cut every PAGE_ENTRIES_CUT

    def add(self, entry: Entry) -> None:
        """Entries come sorted by name and are unique."""
        if self._is_paged:
            self._append(entry)
            return
        self._held.append(entry)
        if len(self._held) > SINGLE_PAGE_ENTRIES:
            self._is_paged = True
            head, self._held = self._held, []
            for held in head:
                self._append(held)

    def finish(self) -> PageSummary:
        """Write what is held and return the summary of the root page."""
        if not self._is_paged:
            return _store_leaf(self._held, self._store).summary
        self._end_segment()
        return _index(self._pages, self._store)

    def _append(self, entry: Entry) -> None:
        if self._held and starts_page(entry.name):
            self._end_segment()
        self._held.append(entry)
        self._is_cut = self._is_cut or len(self._held) > PAGE_ENTRIES_MAX
        while self._is_cut and len(self._held) > PAGE_ENTRIES_CUT:
            self._pages.append(_store_leaf(self._held[:PAGE_ENTRIES_CUT], self._store))
            del self._held[:PAGE_ENTRIES_CUT]

    def _end_segment(self) -> None:
        if self._held:
            self._pages.append(_store_leaf(self._held, self._store))
        self._held, self._is_cut = [], False


def build_directory(entries: Iterable[Entry], store: Store) -> PageSummary:
    """Write a directory's pages through `store`, children first, and return the summary of its root page.

    Args:
        entries: sorted by name, unique; consumed as a stream.
        store: takes the bytes of a page, returns its digest.
    """
    builder = DirectoryBuilder(store)
    for entry in entries:
        builder.add(entry)
    return builder.finish()


def edit_directory(root: TreePage, changes: dict[str, Entry | None], load: Load, store: Store) -> PageSummary:
    """Write the directory that `root` becomes by `changes` (name to new entry, or to None for a removal).

    Loads and writes only the pages whose entries change; the result equals `build_directory` of the changed entries.
    """
    if isinstance(root, LeafPage):
        return build_directory(_merge(root.entries(), changes), store)
    refs = list(leaf_refs(root, load))
    edited = _edit_segments(refs, changes, load)
    pages: list[_PageRef] = []
    for item in edited:
        pages.extend(item if isinstance(item, _Reused) else _store_segment(item, store))
    if sum(ref.summary.entry_count for ref in pages) > SINGLE_PAGE_ENTRIES:
        return _index(pages, store)
    remaining = chain.from_iterable(load_leaf(ref.summary.digest, load).entries() for ref in refs)
    return build_directory(_merge(remaining, changes), store)


def leaf_refs(root: IndexPage, load: Load) -> Iterator[_PageRef]:
    """The leaf pages under an index, in order of names."""
    for i, first in enumerate(root.firsts):
        if root.level == 1:
            yield _PageRef(first, root.page(i))
        else:
            yield from leaf_refs(_load_index(root.digest(i), root.level - 1, load), load)


def leaf_pages(root: TreePage, load: Load) -> Iterator[LeafPage]:
    """The pages of entries of the directory whose page is `root`, in order of names."""
    if isinstance(root, LeafPage):
        yield root
    else:
        yield from (load_leaf(ref.summary.digest, load) for ref in leaf_refs(root, load))


def find_entry(root: TreePage, name: str, load: Load) -> Entry | None:
    """The entry `name` of the directory whose page is `root`."""
    page = root
    while isinstance(page, IndexPage):
        i = page.page_of(name)
        page = page.checked(i, load(page.digest(i)))
    position = page.find(name)
    return None if position is None else page.entry(position)


def load_leaf(digest: Digest, load: Load) -> LeafPage:
    page = load(digest)
    if not isinstance(page, LeafPage):
        raise DamagedObject(f"{digest.text} is an index where a page of entries belongs")
    return page


def _load_index(digest: Digest, level: int, load: Load) -> IndexPage:
    page = load(digest)
    if not isinstance(page, IndexPage) or page.level != level:
        raise DamagedObject(f"{digest.text} is not an index of level {level}")
    return page


def _store_leaf(entries: list[Entry], store: Store) -> _PageRef:
    digest = store(encode_leaf(entries))
    size = sum(e.size_bytes for e in entries)
    files = sum(e.file_count for e in entries)
    return _PageRef(entries[0].name if entries else "", PageSummary(digest, len(entries), size, files))


def _segments(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    segment: list[Entry] = []
    for entry in entries:
        if segment and starts_page(entry.name):
            yield segment
            segment = []
        segment.append(entry)
    if segment:
        yield segment


def _cut(run: list[_T], maximum: int, size: int) -> Iterator[list[_T]]:
    if len(run) <= maximum:
        yield run
    else:
        for i in range(0, len(run), size):
            yield run[i : i + size]


def _store_segment(segment: list[Entry], store: Store) -> list[_PageRef]:
    return [_store_leaf(run, store) for run in _cut(segment, PAGE_ENTRIES_MAX, PAGE_ENTRIES_CUT)]


class _Reused(list[_PageRef]):
    """A natural segment whose pages are taken over as they are."""


def _edit_segments(
    refs: list[_PageRef], changes: dict[str, Entry | None], load: Load
) -> Iterator[_Reused | list[Entry]]:
    names = sorted(changes)
    position = 0
    held: _Reused | list[Entry] | None = None
    natural = list(_natural_segments(refs))
    for number, segment in enumerate(natural):
        end = natural[number + 1][0].first if number + 1 < len(natural) else None
        begin = position
        while position < len(names) and (end is None or names[position] < end):
            position += 1
        if begin == position:
            if held is not None:
                yield from _finish(held)
            held = segment
            continue
        old = chain.from_iterable(load_leaf(ref.summary.digest, load).entries() for ref in segment)
        entries = list(_merge(old, {name: changes[name] for name in names[begin:position]}))
        if not entries:
            continue
        if held is not None and starts_page(entries[0].name):
            yield from _finish(held)
            held = entries
        else:  # the name that began this segment is gone: it joins the one before
            held = _entries_of(held, load) + entries
    if held is not None:
        yield from _finish(held)


def _finish(held: _Reused | list[Entry]) -> Iterator[_Reused | list[Entry]]:
    if isinstance(held, _Reused):
        yield held
    else:
        yield from _segments(held)


def _entries_of(held: _Reused | list[Entry] | None, load: Load) -> list[Entry]:
    if isinstance(held, _Reused):
        return [entry for ref in held for entry in load_leaf(ref.summary.digest, load).entries()]
    return held or []


def _natural_segments(refs: list[_PageRef]) -> Iterator[_Reused]:
    segment = _Reused()
    for ref in refs:
        if segment and starts_page(ref.first):
            yield segment
            segment = _Reused()
        segment.append(ref)
    if segment:
        yield segment


def _merge(entries: Iterable[Entry], changes: dict[str, Entry | None]) -> Iterator[Entry]:
    names = sorted(changes)
    position = 0
    for entry in entries:
        while position < len(names) and names[position] < entry.name:
            yield from _changed(names[position], changes)
            position += 1
        if position < len(names) and names[position] == entry.name:
            yield from _changed(entry.name, changes)
            position += 1
        else:
            yield entry
    for name in names[position:]:
        yield from _changed(name, changes)


def _changed(name: str, changes: dict[str, Entry | None]) -> Iterator[Entry]:
    entry = changes[name]
    if entry is not None:
        yield entry if entry.name == name else replace(entry, name=name)


def _index(pages: Iterable[_PageRef], store: Store) -> PageSummary:
    level, refs = 1, list(pages)
    while True:
        runs = [refs] if len(refs) <= INDEX_ENTRIES_MAX else list(_index_runs(refs, level))
        refs = [_store_index(level, run, store) for run in runs]
        if len(refs) == 1:
            return refs[0].summary
        level += 1


def _index_runs(refs: list[_PageRef], level: int) -> Iterator[list[_PageRef]]:
    run: list[_PageRef] = []
    for ref in refs:
        if run and starts_page(ref.first, level):
            yield from _cut(run, INDEX_ENTRIES_MAX, INDEX_ENTRIES_MAX // 2)
            run = []
        run.append(ref)
    yield from _cut(run, INDEX_ENTRIES_MAX, INDEX_ENTRIES_MAX // 2)


def _store_index(level: int, refs: list[_PageRef], store: Store) -> _PageRef:
    digest = store(encode_index(level, [r.first for r in refs], [r.summary for r in refs]))
    totals = [r.summary for r in refs]
    summary = PageSummary(
        digest,
        sum(t.entry_count for t in totals),
        sum(t.size_bytes for t in totals),
        sum(t.file_count for t in totals),
    )
    return _PageRef(refs[0].first, summary)
