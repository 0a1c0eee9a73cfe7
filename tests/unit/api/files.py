"""Files of a version, in memory."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from artfs.api.media import Storable, load
from artfs.errors import PathNotFound


class MemoryFiles:
    """Paths and contents."""

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        self.contents = contents or {}

    def open(self, path: str) -> BinaryIO:
        if path not in self.contents:
            raise PathNotFound(f"no file {path}")
        return io.BytesIO(self.contents[path])

    def paths(self, directory: str) -> list[str]:
        return sorted(path for path in self.contents if not directory or path.startswith(directory + "/"))

    def add(self, thing: Storable, name: str) -> str:
        path = thing.file_name(name)
        self.contents[path] = written(thing)
        return path

    def get(self, path: str) -> Any:
        return load(path, self)


def written(thing: Storable) -> bytes:
    file = io.BytesIO()
    thing.write(file)
    return file.getvalue()


def again(thing: Storable) -> Any:
    """What is read of what was written."""
    files = MemoryFiles()
    return files.get(files.add(thing, "t"))
