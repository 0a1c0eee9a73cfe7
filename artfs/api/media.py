"""Objects that an artifact keeps as files in a format of their own, such as tables, and how they are read back.

Knows the suffixes of their files and who reads which, nothing of the formats.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

from artfs.errors import InvalidValue


@runtime_checkable
class Storable(Protocol):
    """What `artifact.add(obj, name)` takes."""

    def file_name(self, name: str) -> str:
        """The path in the version of what is called `name`: `name` and the suffix of the format."""

    def write(self, file: BinaryIO) -> None:
        """Write all of it."""


class StoredFiles(Protocol):
    """The files of a version, as a reader of objects sees them."""

    def open(self, path: str) -> BinaryIO:
        """Its content from the beginning. Raises PathNotFound."""

    def paths(self, directory: str) -> list[str]:
        """The paths of all files below a directory of the version, sorted; none if it is not there."""


Load = Callable[[str, StoredFiles], Any]
"""Reads the object whose file is at a path."""

_READERS = {  # suffix of the file: module and name of its `Load`
    ".partitioned-table.json": ("artfs.api.data_types", "load_partitioned_table"),
    ".table.json": ("artfs.api.data_types", "load_table"),
}


def candidates(name: str) -> list[str]:
    """Where in a version the object `name` may be."""
    if name.endswith(tuple(_READERS)):
        return [name]
    return [name + suffix for suffix in _READERS]


def load(path: str, files: StoredFiles) -> Any:
    """The object in the file at `path`. Raises InvalidValue if it is in no known format."""
    for suffix, (module, name) in _READERS.items():
        if path.endswith(suffix):
            return cast(Load, getattr(import_module(module), name))(path, files)
    raise InvalidValue(f"{path!r} is not in a format of objects", hint="artifact.get_entry(path).download() gives it")
