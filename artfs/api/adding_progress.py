"""How far adding a directory is, told while its files are copied."""

from __future__ import annotations

import os
from collections.abc import Callable

from artfs.api.draft_content import HeldFile, Leaf

Progress = Callable[[int, int], None]
"""Told how many files and links, and how many bytes, were added so far; of a file that is being copied, what is copied."""


class Adding:
    """Files that are added one after the other."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._files = 0
        self._size_bytes = 0

    def copied(self, size_bytes: int) -> None:
        """So much of the next file is."""
        if self._progress is not None:
            self._progress(self._files, self._size_bytes + size_bytes)

    def added(self, leaf: Leaf) -> None:
        if self._progress is not None:
            self._files += 1
            self._size_bytes += os.stat(leaf.path).st_size if isinstance(leaf, HeldFile) else 0
            self._progress(self._files, self._size_bytes)
