"""What the registry's services share: the database, the pack store, the clock and randomness. All of it is thread-safe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from artfs.registry.database import Database
from artfs.registry.maintenance_lock import MaintenanceLock
from artfs.store.packs import PackStore

Clock = Callable[[], int]
"""Nanoseconds since the epoch."""

RandomBytes = Callable[[int], bytes]


class Verify(Enum):
    """How much of an arriving pack is checked before its objects are registered.

    A parent is decoded, its digest recomputed and its claims compared with its children in any case: a wrong one would break
    the graph for good. Chunks are only bytes: with METADATA they are believed to be what their digest says, which fits a
    registry whose packs are written by the same process a moment before (a reader and fsck verify them anyway). Packs that
    come from elsewhere need ALL, else anybody could occupy a digest with other bytes.
    """

    METADATA = "metadata"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Resources:
    """Made once per registry; `spool` is on local disk.

    `after_change` is called after each transaction that appended to the journal of changes.
    """

    database: Database
    store: PackStore
    spool: Path
    maintenance_lock: MaintenanceLock
    clock: Clock
    random_bytes: RandomBytes
    verify: Verify
    after_change: Callable[[], None]
