"""`RemoteRegistry`: the registry's services as calls of a server. docs/api.md describes them."""

from __future__ import annotations

import threading
from pathlib import Path

from artfs.client.remote.access import RemoteAccess
from artfs.client.remote.catalog import RemoteAliases, RemoteArtifacts, RemoteProjects, RemoteVersions
from artfs.client.remote.runs import RemoteLineage, RemoteRuns, RemoteSweeps
from artfs.client.remote.shared_drafts import RemoteSharedDrafts
from artfs.client.remote.transfers import RemoteChanges, RemoteDrafts, RemoteObjects
from artfs.client.remote.transport import Outside, Transport
from artfs.store.durable import make_private, reported
from artfs.store.owned import remove_unowned_in
from artfs.wire.http import API, Hello


class RemoteRegistry:
    """A `Registry` behind a server. Making one asks nothing.

    Args:
        url: `http(s)://HOST:PORT`.
        token: empty for none, which every call is refused for.
        spool: packs under construction; created.
        ca_file: certificates (PEM) that are trusted besides the usual ones; empty for none.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        spool: Path,
        ca_file: str = "",
        outside: Outside | None = None,
    ) -> None:
        with reported("create", spool):
            make_private(spool)
        remove_unowned_in(spool)
        self.spool = spool
        self.transport = transport = Transport(url, token, ca_file=ca_file, outside=outside)
        self._identity = ""
        self._lock = threading.Lock()
        self.projects = RemoteProjects(transport)
        self.artifacts = RemoteArtifacts(transport)
        self.versions = RemoteVersions(transport)
        self.aliases = RemoteAliases(transport)
        self.drafts = RemoteDrafts(transport)
        self.shared_drafts = RemoteSharedDrafts(transport)
        self.runs = RemoteRuns(transport)
        self.sweeps = RemoteSweeps(transport)
        self.lineage = RemoteLineage(transport)
        self.objects = RemoteObjects(transport)
        self.changes = RemoteChanges(transport)
        self.access = RemoteAccess(transport)

    @property
    def identity(self) -> str:
        with self._lock:
            if not self._identity:
                self._identity = self.transport.get(API, Hello).identity
            return self._identity

    def close(self) -> None:
        self.transport.close()
