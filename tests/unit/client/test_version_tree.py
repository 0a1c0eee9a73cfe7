"""Trees made of entries by path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artfs.client.trees import TreeReader
from artfs.client.version_tree import build_tree
from artfs.errors import PathConflict
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.tree import Entry, EntryKind
from tests.unit.client.memory_source import MemorySource


class _Pages:
    def __init__(self) -> None:
        self.source = MemorySource({})

    def store(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.source.objects[ObjectKey(ObjectKind.TREE, digest)] = data
        return digest


def _entry(data: bytes) -> Entry:
    return Entry("whatever", EntryKind.FILE, Digest.of(data), len(data))


names = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(names, st.binary(max_size=3)))
def test_everything_is_where_its_path_says_whatever_the_order(files: dict[str, bytes]) -> None:
    kept = {path: data for path, data in files.items() if not any(other.startswith(f"{path}/") for other in files)}
    pages = _Pages()
    items = [(path, _entry(data)) for path, data in kept.items()]
    root = build_tree(items, pages.store)
    assert build_tree(reversed(items), pages.store) == root
    walked = {found.path: found.entry.digest for found in TreeReader(pages.source, "p").walk(root)}
    directories = {"/".join(path.split("/")[:depth]) for path in kept for depth in range(1, path.count("/") + 1)}
    assert walked.keys() == kept.keys() | directories
    assert all(walked[path] == Digest.of(data) for path, data in kept.items())


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b"], ["a//b", "a/b"]])
def test_two_things_at_one_path_are_refused(paths: list[str]) -> None:
    with pytest.raises(PathConflict, match="a"):
        build_tree([(path, _entry(b"x")) for path in paths], _Pages().store)
