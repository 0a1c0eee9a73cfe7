"""The registry over any database and any pack store: where its services are put together."""

from __future__ import annotations

from pathlib import Path

from artfs.registry.aliases import Aliases
from artfs.registry.catalog import Artifacts, Projects
from artfs.registry.changes import ChangeLog
from artfs.registry.collection import Collection
from artfs.registry.deletion import Deletions
from artfs.registry.drafts import Drafts
from artfs.registry.lineage import Lineage
from artfs.registry.maintenance import Maintenance
from artfs.registry.objects import Objects
from artfs.registry.resources import Resources
from artfs.registry.runs import Runs
from artfs.registry.shared_drafts import SharedDrafts
from artfs.registry.sweeps import Sweeps
from artfs.registry.users import Access
from artfs.registry.versions import Versions
from artfs.store.owned import remove_unowned_in


class SqlRegistry:
    """A `Registry` whose caller may do everything. Whoever makes one has migrated the database.

    Args:
        identity: the registry's stable id.
        resources: closed with the registry.
    """

    def __init__(self, identity: str, resources: Resources) -> None:
        self.identity = identity
        self.resources = resources
        maintenance = Maintenance(resources)
        self.projects = Projects(resources, maintenance)
        self.artifacts = Artifacts(resources)
        deletions = Deletions(resources, maintenance, self.projects)
        self.collection = Collection(resources, maintenance, deletions)
        self.versions = Versions(resources, deletions)
        self.aliases = Aliases(resources)
        self.drafts = Drafts(resources, maintenance)
        self.shared_drafts = SharedDrafts(resources, maintenance)
        self.runs = Runs(resources)
        self.sweeps = Sweeps(resources)
        self.lineage = Lineage(resources)
        self.objects = Objects(resources)
        self.changes = ChangeLog(resources.database)
        self.access = Access(resources)
        maintenance.try_sweep()
        remove_unowned_in(resources.spool)

    @property
    def spool(self) -> Path:
        return self.resources.spool

    def close(self) -> None:
        self.resources.database.close()
