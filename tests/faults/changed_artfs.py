"""The command `artfs` with a process that tests can see through; no user can have it so. A script; tests never import it.

    changed_artfs.py CHANGE ARGUMENTS...

CHANGE is one of
- little-memory: hardly anything is held in memory, so that every read meets what is on the disk;
- unverified: what is read from the cache is not hashed, for measuring what that costs;
- as-it-is;
- disturbed: signals do to a mount's event loop what no user can, see DISTURBANCES;
- disturbed-watched: they do too, and a loop that stands still is ended after two seconds.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType

LITTLE_BYTES = 1 << 20
LITTLE = 64
DISTURBED_S = 8.0
INVALIDATES_AFTER_S = 1.0


def use_little_memory() -> None:
    from artfs.client import pages, places
    from artfs.client.objects import ObjectReader
    from artfs.registry import sqlite
    from artfs.vfs import reading

    assert ObjectReader.__init__.__kwdefaults__ is not None
    ObjectReader.__init__.__kwdefaults__["memory_bytes"] = LITTLE_BYTES
    for module, name in (
        (pages, "PAGE_ENTRIES_MAX"),
        (places, "LOCATIONS_MAX"),
        (reading, "RECIPE_CHUNKS_MAX"),
        (sqlite, "CACHE_KIB"),
    ):
        assert hasattr(module, name)
        setattr(module, name, LITTLE)


def trust_the_cache() -> None:
    """Every SHA-256 that the cache's reader makes is the one that it expects."""
    from artfs.cache import reader

    assert hasattr(reader, "sha256")
    vars(reader)["sha256"] = _always_right


class _Equal(bytes):
    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


class _AlwaysRight:
    _digest = _Equal()

    @staticmethod
    def digest() -> bytes:
        return _AlwaysRight._digest


def _always_right(data: object) -> type[_AlwaysRight]:
    return _AlwaysRight


def leave_it() -> None:
    """The command as it is, for comparison."""


def stand_still() -> None:
    """As a thread that waits for another which died."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def invalidate_and_stand_still() -> None:
    """A thread tells the kernel to forget a name, which waits for whoever changes that directory, who waits for the loop."""
    import pyfuse3

    def invalidate() -> None:
        delay_s = INVALIDATES_AFTER_S  # somebody has begun to change the directory by then
        time.sleep(delay_s)
        pyfuse3.invalidate_entry(pyfuse3.ROOT_INODE, b"p")

    threading.Thread(target=invalidate, daemon=True).start()
    stand_still()


def compute() -> None:
    end = time.monotonic() + DISTURBED_S
    while time.monotonic() < end:
        pass


def be_slow() -> None:
    end = time.monotonic() + DISTURBED_S
    while time.monotonic() < end:
        time.sleep(0.2)


def let_trio_fail() -> None:
    """As it does when it finds no memory for what a thread brings back."""
    import pyfuse3

    def fail() -> None:
        raise MemoryError

    assert pyfuse3.trio_token is not None
    pyfuse3.trio_token.run_sync_soon(fail)


DISTURBANCES = {
    signal.SIGUSR1: stand_still,
    signal.SIGUSR2: compute,
    signal.SIGRTMIN: be_slow,
    signal.SIGRTMIN + 1: let_trio_fail,
    signal.SIGRTMIN + 2: invalidate_and_stand_still,
}
"""Which signal does what to the event loop that it finds."""


def be_disturbed() -> None:
    def disturb(number: int, _: FrameType | None) -> None:
        DISTURBANCES[number]()

    for number in DISTURBANCES:
        signal.signal(number, disturb)


def be_disturbed_and_watched() -> None:
    from artfs.fuse import stillness

    be_disturbed()
    stillness.TICK_S, stillness.LOOK_S, stillness.LOOKS_MAX = 0.2, 0.25, 8


CHANGES = {
    "little-memory": use_little_memory,
    "unverified": trust_the_cache,
    "as-it-is": leave_it,
    "disturbed": be_disturbed,
    "disturbed-watched": be_disturbed_and_watched,
}


def main() -> None:
    change, *arguments = sys.argv[1:]
    CHANGES[change]()
    sys.argv = ["artfs", *arguments]
    from artfs.cli import main as entry

    entry.main()


if __name__ == "__main__":
    main()
