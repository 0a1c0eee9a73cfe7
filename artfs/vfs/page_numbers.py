"""Small numbers for tree pages, so that a file the kernel knows costs an integer instead of a digest.

Owner: the entry table, which holds one reference a known entry, and listings, which hold one while they run. A page's number is
free again when nothing refers to it. Only names of pages are kept here, never their content.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from artfs.model.digest import Digest
from artfs.model.lineage import VersionRef


class PageKey(NamedTuple):
    """A tree page of a project; where versions are told apart, of one version of it."""

    project: str
    digest: Digest
    origin: VersionRef | None = None

    @property
    def shared(self) -> PageKey:
        """The page, whichever version it was reached through."""
        return self if self.origin is None else PageKey(self.project, self.digest)


class PageNumbers:
    """Interned page keys with reference counts."""

    def __init__(self) -> None:
        self._numbers: dict[PageKey, int] = {}
        self._keys: list[PageKey | None] = []
        self._references: list[int] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def hold(self, key: PageKey) -> int:
        """The number of `key`, with one more reference."""
        number = self._numbers.get(key)
        if number is None:
            number = self._new(key)
        self._references[number] += 1
        return number

    @contextmanager
    def held(self, key: PageKey) -> Iterator[int]:
        """The number of `key`, referred to while the context lasts."""
        number = self.hold(key)
        try:
            yield number
        finally:
            self.release(number)

    def acquire(self, number: int) -> None:
        """One more reference to a page that somebody holds."""
        self._references[number] += 1

    def release(self, number: int) -> None:
        left = self._references[number] - 1
        self._references[number] = left
        if left == 0:
            key = self.key(number)
            del self._numbers[key]
            self._keys[number] = None
            self._free.append(number)

    def key(self, number: int) -> PageKey:
        key = self._keys[number]
        assert key is not None, "a page number outlived its references"
        return key

    def _new(self, key: PageKey) -> int:
        if self._free:
            number = self._free.pop()
            self._keys[number] = key
        else:
            number = len(self._keys)
            self._keys.append(key)
            self._references.append(0)
        self._numbers[key] = number
        return number
