"""Links of a tree that was put together from others: each was judged where it came from, where others were beside it."""

from __future__ import annotations

from artfs.client.scan import Problems, link_problem
from artfs.client.trees import TreeReader
from artfs.model.digest import Digest
from artfs.model.tree import EntryKind


def check_links(trees: TreeReader, root: Digest) -> None:
    """Raises UnsupportedFile naming the symbolic links that leave the tree."""
    problems = Problems()
    target_at = trees.targets_below(root)
    for found in trees.walk(root):
        if found.entry.kind is EntryKind.SYMLINK:
            directory = tuple(found.path.split("/")[:-1])
            problem = link_problem(found.path, directory, found.entry.target or "", target_at)
            if problem is not None:
                problems.add(problem)
    problems.raise_any()
