"""Walks and differences of trees, against the obvious way to do it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artfs.client.trees import TreeReader
from artfs.model.tree import EntryKind
from tests.contract.uploading import Tree, content_of
from tests.property.trees import NAMES
from tests.unit.client.memory_source import MemorySource

pytestmark = [pytest.mark.falsifies("model")]

LEAVES = st.sampled_from([b"a", b"b"]) | st.sampled_from(["x", "../y"])
TREES: st.SearchStrategy[Tree] = st.dictionaries(
    st.sampled_from("abcd") | NAMES,
    st.recursive(LEAVES, lambda below: st.dictionaries(st.sampled_from("abcd"), below, max_size=4), max_leaves=8),
    max_size=5,
)


def _flat(tree: Tree, prefix: str = "") -> dict[str, bytes | str]:
    """Everything below by path; a directory is its name with a slash."""
    found: dict[str, bytes | str] = {}
    for name in sorted(tree):
        value = tree[name]
        if isinstance(value, bytes | str):
            found[prefix + name] = value
        else:
            found[f"{prefix}{name}/"] = b""
            found |= _flat(value, f"{prefix}{name}/")
    return found


@given(tree=TREES)
def test_a_walk_finds_everything_in_order(tree: Tree) -> None:
    content = content_of(tree)
    walked = TreeReader(MemorySource(content.objects), "vision").walk(content.root)
    seen = [found.path + ("/" if found.entry.kind is EntryKind.DIRECTORY else "") for found in walked]
    assert seen == list(_flat(tree))


@settings(max_examples=300)
@given(old=TREES, new=TREES)
def test_a_difference_turns_one_tree_into_the_other(old: Tree, new: Tree) -> None:
    before, after = content_of(old), content_of(new)
    reader = TreeReader(MemorySource(before.objects | after.objects), "vision")
    there, wanted = set(_flat(old).items()), set(_flat(new).items())
    removed: set[str] = set()
    added: set[str] = set()
    for change in reader.diff(before.root, after.root):
        for entry, side in ((change.old, removed), (change.new, added)):
            if entry is not None:
                side.add(change.path + ("/" if entry.kind is EntryKind.DIRECTORY else ""))
    assert removed == {path for path, _ in there - wanted}
    assert added == {path for path, _ in wanted - there}
