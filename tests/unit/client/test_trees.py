"""Paths, listings, walks and differences of trees."""

from __future__ import annotations

import pytest

from artfs.client.trees import ChangeKind, PathChange, TreeReader
from artfs.errors import PathNotFound
from artfs.model.digest import Digest, ObjectKind
from artfs.model.tree import Entry, EntryKind
from artfs.model.tree_build import DirectoryBuilder, build_directory
from tests.contract.uploading import Content, Tree, content_of
from tests.unit.client.memory_source import ENTERED_NS, MemorySource

BIKES: Tree = {
    "a": {"x.txt": b"x", "y.txt": b"yy", "deep": {"er": {"z": b"zzz"}}},
    "empty": {},
    "link": "a/x.txt",
    "top.txt": b"top",
}


def _reader(*contents: Content) -> tuple[TreeReader, MemorySource]:
    source = MemorySource({key: data for content in contents for key, data in content.objects.items()})
    return TreeReader(source, "vision"), source


def _diff(old: Tree, new: Tree) -> list[tuple[str, str]]:
    before, after = content_of(old), content_of(new)
    reader, _ = _reader(before, after)
    return [(change.kind.value, change.path) for change in reader.diff(before.root, after.root)]


def test_a_path_leads_to_its_entry_with_its_time() -> None:
    content = content_of(BIKES)
    found = _reader(content)[0].lookup(content.root, ("a", "deep", "er", "z"))
    assert (found.path, found.entry.size_bytes, found.time_ns) == ("a/deep/er/z", 3, ENTERED_NS)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (("b",), "'b' is not in"),
        (("a", "nope", "x"), "'a/nope' is not in"),
        (("top.txt", "x"), "'top.txt' is not a dir"),
    ],
)
def test_an_absent_path_is_named_up_to_what_is_missing(path: tuple[str, ...], named: str) -> None:
    content = content_of(BIKES)
    with pytest.raises(PathNotFound, match=named):
        _reader(content)[0].lookup(content.root, path)


def test_a_listing_has_the_entries_of_one_directory_in_order() -> None:
    content = content_of(BIKES)
    reader, _ = _reader(content)
    assert [found.path for found in reader.list(content.root)] == ["a", "empty", "link", "top.txt"]


def test_a_walk_goes_depth_first_each_directory_before_what_is_in_it() -> None:
    content = content_of(BIKES)
    reader, _ = _reader(content)
    assert [found.path for found in reader.walk(content.root)] == [
        *("a", "a/deep", "a/deep/er", "a/deep/er/z", "a/x.txt", "a/y.txt"),
        *("empty", "link", "top.txt"),
    ]


def test_a_walk_reads_the_pages_of_neighbouring_directories_together() -> None:
    content = content_of({f"d{i:03}": {"f": b"%d" % i} for i in range(100)})
    reader, source = _reader(content)
    assert sum(1 for _ in reader.walk(content.root)) == 200
    assert source.batches == [64, 36]


def test_a_listing_reads_no_page_but_its_own() -> None:
    content = content_of({f"d{i:03}": {"f": b"%d" % i} for i in range(100)})
    reader, source = _reader(content)
    assert sum(1 for _ in reader.list(content.root)) == 100
    assert source.pages_read == [content.root]
    assert source.batches == []


def test_a_walk_is_not_limited_by_the_interpreters_recursion() -> None:
    content = Content()
    digest = build_directory([], lambda page: content.keep(ObjectKind.TREE, page)).digest
    for _ in range(1500):
        entry = Entry("d", EntryKind.DIRECTORY, digest, 0, file_count=0)
        digest = build_directory([entry], lambda page: content.keep(ObjectKind.TREE, page)).digest
    reader, _ = _reader(content)
    assert sum(1 for _ in reader.walk(digest)) == 1500
    empty = build_directory([], lambda page: content.keep(ObjectKind.TREE, page)).digest
    assert sum(1 for _ in reader.diff(empty, digest)) == 1500


def test_a_difference_names_every_path_below_what_came_and_went() -> None:
    new: Tree = {"a": {"x.txt": b"changed", "deep": {"er": {"z": b"zzz"}}}, "link": "top.txt", "new": {"n": b"n"}}
    assert _diff({**BIKES}, new) == [
        ("M", "a/x.txt"),
        ("-", "a/y.txt"),
        ("-", "empty"),
        ("M", "link"),
        ("+", "new"),
        ("+", "new/n"),
        ("-", "top.txt"),
    ]


def test_a_file_that_became_a_directory_is_removed_and_added() -> None:
    assert _diff({"n": b"file"}, {"n": {"f": b"x"}}) == [("-", "n"), ("+", "n"), ("+", "n/f")]


def test_a_file_that_grew_large_is_modified() -> None:
    before, after = content_of({"f": b"small"}), content_of({"f": bytes(3000)}, large_bytes=1000)
    (change,) = _reader(before, after)[0].diff(before.root, after.root)
    assert change.kind is ChangeKind.MODIFIED
    assert isinstance(change, PathChange)
    assert change.new is not None
    assert change.new.kind is EntryKind.LARGE_FILE


def test_equal_directories_are_not_read() -> None:
    before, after = content_of({**BIKES, "z": b"1"}), content_of({**BIKES, "z": b"2"})
    reader, source = _reader(before, after)
    assert [change.path for change in reader.diff(before.root, after.root)] == ["z"]
    assert set(source.pages_read) == {before.root, after.root}


def test_of_a_large_directory_only_the_pages_that_differ_are_read() -> None:
    content = Content()

    def build(changed: int) -> Digest:
        builder = DirectoryBuilder(lambda page: content.keep(ObjectKind.TREE, page))
        for i in range(40_000):
            data = b"changed" if i == changed else b"same"
            builder.add(Entry(f"{i:06}", EntryKind.FILE, Digest.of(data), len(data)))
        return builder.finish().digest

    old, new = build(-1), build(20_000)
    reader, source = _reader(content)
    assert [change.path for change in reader.diff(old, new)] == ["020000"]
    assert len(set(source.pages_read)) == 4  # an index and a page on each side
