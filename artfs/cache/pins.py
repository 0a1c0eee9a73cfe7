"""Which objects must stay: a file of marks for each pinned scope, such as one version.

A scope's file holds its name and the sorted marks of its objects, 8 bytes each. Each process keeps what it read and reads
again when the directory has changed. Raises OSError.
"""

from __future__ import annotations

import os
import struct
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256

from artfs.cache.directory import CacheDirectory

_HEAD = struct.Struct("<8sI")  # magic, bytes of the scope's name
_MAGIC = b"artfscp\1"
_TEMPORARY = ".tmp"
_MTIME_TICK_NS = 50_000_000


class Pins:
    """The pins of one cache, as last seen."""

    def __init__(self, directory: CacheDirectory) -> None:
        self._directory = directory
        self._seen_at = -1
        self._marks: dict[str, array[int]] = {}

    def refresh(self) -> None:
        """See what other processes have changed."""
        changed_at = os.fstat(self._directory.pins.fd).st_mtime_ns
        if changed_at != self._seen_at:
            settled = time.time_ns() - changed_at > _MTIME_TICK_NS  # else it may change again and look the same
            self._marks = self._load()
            self._seen_at = changed_at if settled else -1

    def scopes(self) -> list[str]:
        return sorted(self._marks)

    def __bool__(self) -> bool:
        return bool(self._marks)

    def __contains__(self, mark: int) -> bool:
        return any(_holds(marks, mark) for marks in self._marks.values())

    def marks(self, scope: str) -> array[int]:
        return self._marks.get(scope, array("Q"))

    def add(self, scope: str, marks: Iterable[int]) -> None:
        """Pin more objects for `scope`. The caller holds the lock."""
        self.refresh()
        self._store(scope, array("Q", sorted({*self.marks(scope), *marks})))
        self._load_again()

    def drop(self, scope: str) -> None:
        """Forget `scope`; no error if it is not pinned. The caller holds the lock."""
        with suppress(FileNotFoundError):
            self._directory.remove(_file_name(scope), self._directory.pins)
        self._load_again()

    def sweep(self) -> None:
        """Remove what processes that died left half-written. The caller holds the lock."""
        for name in os.listdir(self._directory.pins.fd):
            if name.endswith(_TEMPORARY):
                self._directory.remove(name, self._directory.pins)

    def _store(self, scope: str, marks: array[int]) -> None:
        name = scope.encode()
        within = self._directory.pins
        temporary = _file_name(scope) + _TEMPORARY
        file = self._directory.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, within)
        with os.fdopen(os.dup(file.fd), "wb") as stream:
            stream.write(_HEAD.pack(_MAGIC, len(name)) + name)
            stream.write(marks.tobytes())
        self._directory.rename(temporary, _file_name(scope), within)

    def _load_again(self) -> None:
        self._seen_at = -1
        self.refresh()

    def _load(self) -> dict[str, array[int]]:
        found: dict[str, array[int]] = {}
        for name in os.listdir(self._directory.pins.fd):
            if not name.endswith(_TEMPORARY):
                loaded = self._load_file(name)
                if loaded is not None:
                    found[loaded[0]] = loaded[1]
        return found

    def _load_file(self, name: str) -> tuple[str, array[int]] | None:
        """None for a file that is damaged, or gone by now."""
        try:
            file = self._directory.open(name, os.O_RDONLY, self._directory.pins)
        except FileNotFoundError:
            return None
        with os.fdopen(os.dup(file.fd), "rb") as stream:
            data = stream.read()
        if len(data) < _HEAD.size:
            return None
        magic, length = _HEAD.unpack_from(data)
        body = data[_HEAD.size + length :]
        if magic != _MAGIC or len(body) % 8:
            return None
        marks = array("Q")
        marks.frombytes(body)
        return data[_HEAD.size : _HEAD.size + length].decode("utf-8", "replace"), marks


def _file_name(scope: str) -> str:
    return sha256(scope.encode()).hexdigest()[:32]


def _holds(marks: array[int], mark: int) -> bool:
    place = bisect_left(marks, mark)
    return place < len(marks) and marks[place] == mark
