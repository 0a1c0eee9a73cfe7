"""The whole registry in one directory of this machine: SQLite, packs, no server, no account.

Any number of processes may have it open at once. What is in memory is only what makes that faster.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from artfs.registry.aliases import Aliases
from artfs.registry.catalog import Artifacts, Projects
from artfs.registry.changes import ChangeLog
from artfs.registry.drafts import Drafts
from artfs.registry.layout import open_layout
from artfs.registry.maintenance import Maintenance
from artfs.registry.migrations import migrate, settle_identity
from artfs.registry.objects import Objects
from artfs.registry.records import Records
from artfs.registry.resources import Clock, RandomBytes, Resources, Verify
from artfs.registry.sqlite import SqliteDatabase
from artfs.registry.versions import Versions
from artfs.store.packs import LocalPackStore


class EmbeddedRegistry:
    """A `Registry` in the directory `root`, which is created if it is absent or empty.

    Args:
        clock: nanoseconds since the epoch.
        verify: how much of an arriving pack is checked.

    Raises NewerFormat, DamagedDatabase, StorageFull and StorageFailed.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock = time.time_ns,
        random_bytes: RandomBytes = os.urandom,
        verify: Verify = Verify.METADATA,
    ) -> None:
        self.layout, marker = open_layout(Path(root).absolute(), random_bytes)
        self.identity = marker.identity
        self.spool = self.layout.spool
        self._database = SqliteDatabase(self.layout.database)
        try:
            migrate(self._database)
            settle_identity(self._database, marker.identity)
        except BaseException:
            self._database.close()
            raise
        records = Records(self.layout.records, self._database)
        resources = Resources(
            database=self._database,
            store=LocalPackStore(self.layout.packs),
            spool=self.layout.spool,
            maintenance_lock=self.layout.maintenance_lock,
            clock=clock,
            random_bytes=random_bytes,
            verify=verify,
            after_change=records.follow,
        )
        maintenance = Maintenance(resources)
        self.projects = Projects(resources, maintenance)
        self.artifacts = Artifacts(resources)
        self.versions = Versions(resources, maintenance)
        self.aliases = Aliases(resources)
        self.drafts = Drafts(resources, maintenance)
        self.objects = Objects(resources)
        self.changes = ChangeLog(self._database)
        records.follow()
        maintenance.try_sweep()

    def close(self) -> None:
        self._database.close()
