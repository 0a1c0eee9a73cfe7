"""The union of trees: that of their paths, whatever the order and however they overlap."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from artfs.api.merge_parts import merge_aliases, merge_descriptions, merge_metadata, merge_trees
from artfs.errors import Conflict, PathConflict
from artfs.model.digest import Digest
from artfs.model.tree import Entry, EntryKind, IndexPage, decode_page, symlink_entry
from artfs.model.tree_build import build_directory
from artfs.wire.runs import Part

pytestmark = [pytest.mark.falsifies("whole")]

Tree = dict[str, "bytes | str | Tree"]
ROOT = Digest(bytes(32))


class Pages:
    """Pages in memory, and which were read."""

    def __init__(self) -> None:
        self.pages: dict[Digest, bytes] = {}
        self.read: set[Digest] = set()

    def store(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.pages[digest] = data
        return digest

    def entries(self, digest: Digest) -> Iterator[Entry]:
        self.read.add(digest)
        page = decode_page(self.pages[digest])
        if isinstance(page, IndexPage):
            for i in range(len(page)):
                yield from self.entries(page.digest(i))
        else:
            yield from page.entries()

    def build(self, tree: Tree) -> Digest:
        return build_directory((self._entry(name, tree[name]) for name in sorted(tree)), self.store).digest

    def _entry(self, name: str, node: bytes | str | Tree) -> Entry:
        if isinstance(node, bytes):
            return Entry(name, EntryKind.FILE, Digest.of(node), len(node))
        if isinstance(node, str):
            return symlink_entry(name, node)
        summary = build_directory((self._entry(below, node[below]) for below in sorted(node)), self.store)
        return Entry(name, EntryKind.DIRECTORY, summary.digest, summary.size_bytes, file_count=summary.file_count)

    def merge(self, *trees: Tree) -> Digest:
        return merge_trees([self.build(tree) for tree in trees], self.entries, self.store)


def test_the_union_is_the_tree_of_all_paths() -> None:
    pages = Pages()
    parts: list[Tree] = [
        {"a": b"a", "d": {"x": b"x", "e": {"deep": b"1"}}, "link": "a"},
        {"d": {"y": b"y", "e": {"deep": b"1", "er": b"2"}}, "z": {}},
        {"a": b"a", "link": "a"},
        {},
    ]
    whole: Tree = {
        "a": b"a",
        "d": {"x": b"x", "y": b"y", "e": {"deep": b"1", "er": b"2"}},
        "link": "a",
        "z": {},
    }
    assert pages.merge(*parts) == pages.build(whole)
    assert pages.merge(*reversed(parts)) == pages.build(whole)
    assert pages.merge(parts[0]) == pages.build(parts[0])


def test_large_directories_are_paged_as_if_made_at_once() -> None:
    pages, rnd = Pages(), random.Random(3)
    names = [f"{rnd.random():.12f}" for _ in range(9000)]
    trees: list[Tree] = [{"d": {name: name.encode() for name in names[i::4]}} for i in range(4)]
    assert pages.merge(*trees) == pages.build({"d": {name: name.encode() for name in names}})


def test_directories_that_one_part_alone_has_are_not_read() -> None:
    pages = Pages()
    mine: Tree = {"mine": {"a": b"a", "b": {"c": b"c"}}, "both": {"x": b"x"}}
    pages.merge(mine, {"both": {"y": b"y"}})
    assert pages.build({"a": b"a", "b": {"c": b"c"}}) not in pages.read
    assert pages.build({"x": b"x"}) in pages.read


def test_every_conflicting_path_is_named_and_others_are_not() -> None:
    with pytest.raises(PathConflict) as raised:
        Pages().merge(
            {"same": b"1", "d": {"x": b"1", "ok": b"ok"}, "kind": {"a": b"a"}, "link": "a"},
            {"same": b"1", "d": {"x": b"2", "only": b"2"}, "kind": b"file", "link": "b"},
        )
    assert [line.strip() for line in raised.value.message.splitlines()[1:]] == ["d/x", "kind", "link"]
    many: list[Tree] = [{str(i): text for i in range(100)} for text in (b"1", b"2")]
    with pytest.raises(PathConflict, match="and 80 more"):
        Pages().merge(*many)


def test_an_executable_file_differs_from_one_that_is_not() -> None:
    pages = Pages()
    roots = [
        build_directory([Entry("a", EntryKind.FILE, Digest.of(b"a"), 1, executable)], pages.store).digest
        for executable in (True, False)
    ]
    with pytest.raises(PathConflict, match="a"):
        merge_trees(roots, pages.entries, pages.store)


def test_what_is_said_of_the_parts_is_merged_or_conflicts() -> None:
    parts = [
        Part(ROOT, metadata={"b": 1, "a": [1]}, aliases=["x"], description="d"),
        Part(ROOT, metadata={"a": [1], "c": None}, aliases=["w", "x"]),
        Part(ROOT, description=""),
    ]
    for order in (parts, parts[::-1]):
        assert list(merge_metadata(order).items()) == [("a", [1]), ("b", 1), ("c", None)]
        assert merge_aliases(order) == ["w", "x"]
        assert merge_descriptions(order) == "d"
    assert merge_descriptions([]) is None
    with pytest.raises(Conflict, match="'b'"):
        merge_metadata([*parts, Part(ROOT, metadata={"b": 2})])
    with pytest.raises(Conflict):
        merge_descriptions([*parts, Part(ROOT, description="other")])
