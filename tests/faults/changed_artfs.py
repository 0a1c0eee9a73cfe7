"""The command `artfs` with a process that tests can see through; no user can have it so. A script; tests never import it.

    changed_artfs.py CHANGE ARGUMENTS...

CHANGE is `little-memory`: hardly anything is held in memory, so that every read meets what is on the disk; or `unverified`: what
is read from the cache is not hashed, for measuring what that costs; or `as-it-is`.
"""

from __future__ import annotations

import sys

LITTLE_BYTES = 1 << 20
LITTLE = 64


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


CHANGES = {"little-memory": use_little_memory, "unverified": trust_the_cache, "as-it-is": leave_it}


def main() -> None:
    change, *arguments = sys.argv[1:]
    CHANGES[change]()
    sys.argv = ["artfs", *arguments]
    from artfs.cli import main as entry

    entry.main()


if __name__ == "__main__":
    main()
