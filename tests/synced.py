"""What a process asks the kernel to keep through a power cut, in which order: the calls are noted, and made."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

SYNC, NAME = "sync", "name"


class Synced:
    """Calls since the last look.

    Attributes:
        calls: `SYNC` with the path of what was synced, or `NAME` with the path that a link or a rename gave, in order.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self._syncing(getattr(os, name)))
        for name in ("link", "rename", "replace"):
            patch.setattr(os, name, self._naming(getattr(os, name)))

    def _syncing(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def noted(fd: int) -> None:
            path = os.readlink(f"/proc/self/fd/{fd}")
            call(fd)
            self.calls.append((SYNC, path))

        return noted

    def _naming(self, call: Callable[..., None]) -> Callable[..., None]:
        def noted(source: Any, target: Any, **how: Any) -> None:
            call(source, target, **how)
            self.calls.append((NAME, os.fspath(target)))

        return noted

    def forget(self) -> None:
        self.calls.clear()

    def taken(self) -> set[str]:
        """What was synced; forgets it."""
        paths = {path for what, path in self.calls if what == SYNC}
        self.forget()
        return paths
