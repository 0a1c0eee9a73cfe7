"""The whole registry in one directory of this machine: SQLite, packs, no server, no account.

Any number of processes may have it open at once. What is in memory is only what makes that faster.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from artfs.registry.layout import open_layout
from artfs.registry.maintenance_lock import file_lock
from artfs.registry.migrations import migrate, settle_identity
from artfs.registry.records import Records
from artfs.registry.resources import Clock, RandomBytes, Resources, Verify
from artfs.registry.sql_registry import SqlRegistry
from artfs.registry.sqlite import SqliteDatabase
from artfs.store.packs import LocalPackStore, PackStore


class EmbeddedRegistry(SqlRegistry):
    """A `Registry` in the directory `root`, which is created if it is absent or empty.

    Args:
        store: where the packs are, if not plainly in that directory.
        clock: nanoseconds since the epoch.
        verify: how much of an arriving pack is checked.

    Raises NewerFormat, DamagedDatabase, StorageFull and StorageFailed.
    """

    def __init__(
        self,
        root: Path,
        *,
        store: PackStore | None = None,
        clock: Clock = time.time_ns,
        random_bytes: RandomBytes = os.urandom,
        verify: Verify = Verify.METADATA,
    ) -> None:
        self.layout, marker = open_layout(Path(root).absolute(), random_bytes)
        database = SqliteDatabase(self.layout.database)
        try:
            migrate(database)
            settle_identity(database, marker.identity)
            records = Records(self.layout.records, database)
            records.follow()
            resources = Resources(
                database=database,
                store=store or LocalPackStore(self.layout.packs, self.layout.quarantine),
                spool=self.layout.spool,
                maintenance_lock=file_lock(self.layout.maintenance_lock),
                clock=clock,
                random_bytes=random_bytes,
                verify=verify,
                after_change=records.follow,
            )
            super().__init__(marker.identity, resources)
        except BaseException:
            database.close()
            raise
