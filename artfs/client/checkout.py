"""What must leave a directory for it to be exactly a version. Follows no links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from artfs.client.trees import TreeReader
from artfs.errors import InvalidValue
from artfs.model.digest import Digest
from artfs.model.tree import EntryKind
from artfs.store.durable import reported
from artfs.store.owned import is_owned
from artfs.vfs.ports import ObjectSource


class Foreign(NamedTuple):
    """A path below the root that is not in the version; or is, as something else that is `in_the_way`."""

    path: str
    is_directory: bool
    in_the_way: bool = False


def find_foreign(source: ObjectSource, project: str, tree: Digest, root: Path) -> Iterator[Foreign]:
    """Everything in `root` that the version does not have there, a directory without what is in it."""
    trees = TreeReader(source, project)
    stack = [("", tree)]
    while stack:
        prefix, digest = stack.pop()
        entries = trees.list(digest, descend=True)
        found = next(entries, None)
        for item in _listed(root / prefix):
            while found is not None and found.entry.name < item.name:
                found = next(entries, None)
            is_directory = item.is_dir(follow_symlinks=False)
            if is_directory and is_owned(item.name):
                continue  # somebody writes here, or did: that goes by itself
            if found is None or found.entry.name != item.name:
                yield Foreign(prefix + item.name, is_directory)
            elif is_directory and found.entry.kind is EntryKind.DIRECTORY:
                stack.append((f"{prefix}{item.name}/", found.entry.digest))
            elif is_directory:
                yield Foreign(prefix + item.name, is_directory, in_the_way=True)


def remove_foreign(root: Path, foreign: list[Foreign]) -> None:
    """Remove what `find_foreign` found. Raises StorageFailed."""
    for path, is_directory, _ in foreign:
        with reported("remove", root / path):
            if is_directory:
                shutil.rmtree(root / path)
            else:
                os.unlink(root / path)


def check_root(root: Path, home: Path) -> None:
    """Raises InvalidValue for a directory that nobody means to be a version and nothing else."""
    place = root.resolve()
    if place == home.resolve() or place in home.resolve().parents:
        raise InvalidValue(f"{root} holds more than a version", hint="give checkout a directory of its own")


def _listed(directory: Path) -> list[os.DirEntry[str]]:
    """What is in it, by name; nothing if it is not there."""
    if not directory.is_dir():
        return []
    with reported("list", directory), os.scandir(directory) as items:
        return sorted(items, key=lambda item: item.name)
