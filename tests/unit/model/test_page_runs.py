"""Runs of entries that are alike, which listings are told at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from artfs.model.digest import Digest
from artfs.model.tree import Entry, EntryKind, LeafPage, decode_page, encode_leaf
from artfs.wire.times import PageTimes, encode_times

KINDS = (EntryKind.FILE, EntryKind.LARGE_FILE, EntryKind.DIRECTORY)


@given(st.lists(st.sampled_from(KINDS), min_size=1), st.data())
def test_a_run_of_flags_ends_where_they_change(kinds: list[EntryKind], data: st.DataObject) -> None:
    entries = [Entry(f"{i:05}", kind, Digest.of(b"x"), 1) for i, kind in enumerate(kinds)]
    page = decode_page(encode_leaf(entries))
    assert isinstance(page, LeafPage)
    i = data.draw(st.integers(0, len(kinds) - 1))
    end = page.run_end(i)
    assert {*kinds[i:end]} == {kinds[i]}
    assert end == len(kinds) or kinds[end] is not kinds[i]


def test_a_page_with_attributes_has_no_runs() -> None:
    entries = [
        Entry(f"{i}", EntryKind.FILE, Digest.of(b"x"), 1, xattrs={"a": b"b"} if i == 3 else {}) for i in range(9)
    ]
    page = decode_page(encode_leaf(entries))
    assert isinstance(page, LeafPage)
    assert [page.run_end(i) for i in range(9)] == list(range(9))


@given(st.lists(st.integers(1, 3), min_size=1), st.integers(0, 5), st.data())
def test_a_run_of_times_has_one_time(times: list[int], unknown: int, data: st.DataObject) -> None:
    page = PageTimes(encode_times(times), 7)
    i = data.draw(st.integers(0, len(times) + unknown))
    end = page.run_end(i)
    assert (end is None) == (i >= len(times))
    assert {page[j] for j in range(i, len(times) + unknown + 1 if end is None else end)} == {page[i]}
