"""The lock file that one process at a time holds while it rewrites, deletes or checks packs.

The kernel frees it when its holder dies. Threads of one process exclude each other too.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from artfs.errors import RegistryUnavailable
from artfs.store.durable import FILE_MODE, reported

LOCK_TIMEOUT_S = 600
_POLL_S = 0.02


class MaintenanceLock(Protocol):
    """What keeps several processes from cleaning at once. It saves work; that cleaning is right does not depend on it."""

    def __call__(self, *, wait: bool) -> AbstractContextManager[bool]:
        """Hold the lock; False if somebody else has it and `wait` is False. Raises RegistryUnavailable."""


def file_lock(path: Path) -> MaintenanceLock:
    """The lock of a registry whose processes share a directory."""
    return partial(maintenance_lock, path)


@contextmanager
def maintenance_lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock; False if somebody else has it and `wait` is False. Raises RegistryUnavailable after LOCK_TIMEOUT_S."""
    with reported("open", path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        yield _acquire(fd, path, wait)
    finally:
        os.close(fd)


def _acquire(fd: int, path: Path, wait: bool) -> bool:
    deadline_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not wait:
                return False
        if time.monotonic() > deadline_s:
            raise RegistryUnavailable(f"{path} was held for {LOCK_TIMEOUT_S} s", hint="try again later")
        time.sleep(_POLL_S)
