"""Trees: one content has one encoding, however it came about, and nothing else decodes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artfs.errors import DamagedObject, NewerFormat
from artfs.model import tree_build
from artfs.model.digest import Digest
from artfs.model.tree import (
    OBJECT_KINDS,
    Entry,
    EntryKind,
    IndexPage,
    LeafPage,
    PageSummary,
    TreePage,
    decode_page,
    encode_leaf,
)
from artfs.model.tree_build import build_directory, edit_directory, leaf_refs, load_leaf
from tests.property.trees import DIRECTORIES, ENTRIES, Pages

pytestmark = [pytest.mark.falsifies("hostile")]

NUMBERS = st.sets(st.integers(0, 400), max_size=200)


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of a few entries under indexes of several levels, so that every rule applies to a few hundred names."""
    monkeypatch.setattr(tree_build, "PAGE_ENTRIES_MEAN", 4)
    monkeypatch.setattr(tree_build, "PAGE_ENTRIES_MAX", 8)
    monkeypatch.setattr(tree_build, "PAGE_ENTRIES_CUT", 5)
    monkeypatch.setattr(tree_build, "SINGLE_PAGE_ENTRIES", 6)
    monkeypatch.setattr(tree_build, "INDEX_FANOUT_MEAN", 3)
    monkeypatch.setattr(tree_build, "INDEX_ENTRIES_MAX", 4)


def _file(number: int, content: int = 0) -> Entry:
    return Entry(f"{number:03}", EntryKind.FILE, Digest.of(b"%d %d" % (number, content)), number + content)


def _all(digest: Digest, pages: Pages) -> list[Entry]:
    root = decode_page(pages.stored[digest])
    if isinstance(root, LeafPage):
        return list(root.entries())
    leaves = [load_leaf(ref.summary.digest, pages.load) for ref in leaf_refs(root, pages.load)]
    return [entry for leaf in leaves for entry in leaf.entries()]


@given(entries=DIRECTORIES)
def test_a_page_holds_the_entries_it_was_made_of(entries: list[Entry]) -> None:
    page = decode_page(encode_leaf(entries))
    assert isinstance(page, LeafPage)
    assert list(page.entries()) == entries
    for i, entry in enumerate(entries):
        assert page.find(entry.name) == i
        assert (page.kind(i), page.size_bytes(i)) == (entry.kind, entry.size_bytes)
        assert (page.digest(i), page.xattrs(i)) == (entry.digest, entry.xattrs)
    assert [key for entry in entries if (key := entry.key) is not None] == list(page.children())


@given(entries=DIRECTORIES, name=st.text(max_size=5))
def test_a_name_that_is_not_there_is_not_found(entries: list[Entry], name: str) -> None:
    page = decode_page(encode_leaf(entries))
    assert isinstance(page, LeafPage)
    assert (page.find(name) is None) == (name not in page.names)


@given(entries=DIRECTORIES)
def test_a_summary_adds_up(entries: list[Entry]) -> None:
    data = encode_leaf(entries)
    page = decode_page(data)
    digest = Digest.of(data)
    files = sum(entry.file_count if entry.kind is EntryKind.DIRECTORY else 1 for entry in entries)
    assert page.summary(digest) == PageSummary(digest, len(entries), sum(entry.size_bytes for entry in entries), files)


@settings(max_examples=300)
@given(entries=DIRECTORIES, data=st.data())
def test_bytes_that_are_not_canonical_do_not_decode(entries: list[Entry], data: st.DataObject) -> None:
    encoded = bytearray(encode_leaf(entries))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        page = decode_page(bytes(encoded))
    except (DamagedObject, NewerFormat):
        return
    assert isinstance(page, LeafPage)
    assert encode_leaf(list(page.entries())) == bytes(encoded)  # another page, and exactly that


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_damage(data: bytes) -> None:
    with suppress(DamagedObject, NewerFormat):
        decode_page(data)


@given(entries=st.lists(ENTRIES, min_size=2, max_size=5, unique_by=lambda entry: entry.name))
def test_names_out_of_order_or_twice_do_not_decode(entries: list[Entry]) -> None:
    entries.sort(key=lambda entry: entry.name, reverse=True)
    for wrong in (entries, [entries[0], entries[0]]):
        with pytest.raises(DamagedObject):
            decode_page(encode_leaf(wrong))


@pytest.mark.usefixtures("_small_pages")
class TestLargeDirectories:
    @given(numbers=NUMBERS)
    def test_a_directory_holds_what_it_was_built_of_in_pages_of_bounded_length(self, numbers: set[int]) -> None:
        pages = Pages()
        entries = [_file(number) for number in sorted(numbers)]
        summary = build_directory(entries, pages.store)
        assert _all(summary.digest, pages) == entries
        assert (summary.entry_count, summary.file_count) == (len(entries), len(entries))
        assert summary.size_bytes == sum(numbers)
        for data in pages.stored.values():
            assert len(decode_page(data)) <= 8

    @settings(max_examples=200)
    @given(before=NUMBERS, changes=st.dictionaries(st.integers(0, 400), st.integers(0, 2), max_size=40))
    def test_an_edit_gives_what_building_anew_would(self, before: set[int], changes: dict[int, int]) -> None:
        """A change to 0 is a removal."""
        pages, rebuilt = Pages(), Pages()
        old = build_directory([_file(number) for number in sorted(before)], pages.store)
        contents = dict.fromkeys(before, 0) | {number: value for number, value in changes.items() if value}
        after = [_file(n, contents[n]) for n in sorted(contents) if changes.get(n, 1)]
        edits = {f"{number:03}": _file(number, value) if value else None for number, value in changes.items()}
        root = decode_page(pages.stored[old.digest])
        assert edit_directory(root, edits, pages.load, pages.store) == build_directory(after, rebuilt.store)

    @given(numbers=NUMBERS)
    def test_ordinals_and_names_lead_to_the_page_that_holds_them(self, numbers: set[int]) -> None:
        pages = Pages()
        names = [f"{number:03}" for number in sorted(numbers)]
        root = decode_page(pages.stored[build_directory([_file(n) for n in sorted(numbers)], pages.store).digest])
        for ordinal, name in enumerate(names):
            by_name, by_ordinal, first = root, root, 0
            while isinstance(by_name, IndexPage):
                by_name = pages.load(by_name.digest(by_name.page_of(name)))
            while isinstance(by_ordinal, IndexPage):
                i, start = by_ordinal.page_at(ordinal - first)
                first += start
                by_ordinal = pages.load(by_ordinal.digest(i))
            assert isinstance(by_name, LeafPage)
            assert isinstance(by_ordinal, LeafPage)
            assert by_name.names == by_ordinal.names
            assert by_ordinal.names[ordinal - first] == name

    @given(numbers=st.sets(st.integers(0, 400), min_size=50), changed=st.integers(0, 400))
    def test_one_change_loads_and_stores_few_pages(self, numbers: set[int], changed: int) -> None:
        pages = Pages()
        old = build_directory([_file(number) for number in sorted(numbers)], pages.store)
        before = set(pages.stored)
        leaves = [data for data in pages.stored.values() if not decode_page(data).level]
        root = pages.load(old.digest)
        pages.loaded.clear()
        edit_directory(root, {f"{changed:03}": _file(changed, 9)}, pages.load, pages.store)
        loaded = [digest for digest in pages.loaded if not decode_page(pages.stored[digest]).level]
        assert len(set(loaded)) <= 16 < len(leaves) or len(leaves) <= 16
        stored = [data for digest, data in pages.stored.items() if digest not in before and not decode_page(data).level]
        assert len(stored) <= 16


def test_a_page_refuses_what_no_entry_is() -> None:
    page: TreePage = decode_page(encode_leaf([_file(1)]))
    assert isinstance(page, LeafPage)
    executable_directory = replace(_file(1), kind=EntryKind.DIRECTORY, executable=True)
    (back,) = decode_page(encode_leaf([executable_directory])).entries()  # type: ignore[union-attr]  # it is a leaf
    assert not back.executable
    assert set(OBJECT_KINDS) == set(EntryKind) - {EntryKind.SYMLINK}
