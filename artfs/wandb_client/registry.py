"""`WandbRegistry`: a W&B server as a registry that is only read. docs/wandb.md describes it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from artfs.client.references.policy import PUBLIC
from artfs.client.remote.transport import Outside
from artfs.errors import NotFound
from artfs.model.digest import Digest
from artfs.wandb_client.address import WandbAddress
from artfs.wandb_client.catalog import AskedCatalog
from artfs.wandb_client.graphql import GraphQL
from artfs.wandb_client.known_versions import KnownVersions
from artfs.wandb_client.memory import Memory
from artfs.wandb_client.remembered import RememberedCatalog
from artfs.wandb_client.services import (
    NoChanges,
    NoObjects,
    Refused,
    RefusedAccess,
    WandbAliases,
    WandbArtifacts,
    WandbProjects,
    WandbVersions,
    refuse_change,
    refuse_question,
)
from artfs.wandb_client.versions import WandbVersion


class WandbRegistry:
    """A `Registry` behind a W&B server. Making one asks nothing. Safe from any thread.

    The root of a version is not that of a tree, but stands for it: see `version_of`.

    Args:
        key: an API key.
        ca_file: certificates (PEM) that are trusted besides the usual ones; empty for none.
        hosts: where manifests may be besides on the server itself, as in `Policy`.
        memory: of answers.

    Attributes:
        graphql: asks the server, and fetches files of it.
        known: the catalog as far as it is remembered; answers on an event loop.
    """

    def __init__(
        self,
        address: WandbAddress,
        key: str,
        *,
        ca_file: str = "",
        hosts: Iterable[str] = (PUBLIC,),
        outside: Outside | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.graphql = GraphQL(address.url, key, ca_file=ca_file, hosts=hosts, outside=outside)
        self._versions = KnownVersions()
        self._asked = AskedCatalog(self.graphql, address.entity, self._versions)
        memory = memory or Memory()
        self.known = RememberedCatalog(self._asked, memory.peek)
        self._catalog = RememberedCatalog(self._asked, memory.recall)
        self.projects = WandbProjects(self._catalog)
        self.artifacts = WandbArtifacts(self._catalog)
        self.versions = WandbVersions(self._catalog)
        self.aliases = WandbAliases(self._catalog)
        self.objects = NoObjects()
        self.changes = NoChanges()
        self.access = RefusedAccess()
        self.drafts: Any = Refused(refuse_change)
        self.shared_drafts: Any = Refused(refuse_change)
        self.runs: Any = Refused(refuse_question)
        self.sweeps: Any = Refused(refuse_question)
        self.lineage: Any = Refused(refuse_question)

    @property
    def identity(self) -> str:
        """Of the server and the entity. Raises what the server tells if the address leaves the entity to the key."""
        return sha256(f"{self.graphql.url}/{self._asked.entity}".encode()).hexdigest()[:32]

    @property
    def spool(self) -> Path:
        """Raises InvalidValue: nothing is sent."""
        refuse_change()

    def version_of(self, root: Digest) -> WandbVersion | None:
        """What a `VersionRecord` of this registry with that root is a record of; None for one that was not met lately."""
        return self._versions.of_root(root)

    def manifest(self, version: WandbVersion) -> bytes | bytearray:
        """Its JSON. Raises VersionNotFound, PathNotFound, AccessDenied, and RegistryUnavailable."""
        return self._asked.manifest(version)

    def created_at_ns(self, version: WandbVersion, artifact_id: str) -> int | None:
        """When the version with that id was made; None if it is not, or not any more, one of the same artifact.

        Asks for the list of versions if that version was not met yet. Raises RegistryUnavailable.
        """
        found = self._versions.of_id(artifact_id)
        if found is None:
            try:
                self._catalog.versions(version.project, version.artifact)
            except NotFound:
                return None
            found = self._versions.of_id(artifact_id)
        return None if found is None else found.created_at_ns

    def close(self) -> None:
        """End every call that is under way."""
        self.changes.close()
        self.graphql.close()
