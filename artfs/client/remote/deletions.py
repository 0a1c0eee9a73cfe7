"""Deleting much together, on a server."""

from __future__ import annotations

from artfs.client.remote.catalog import DELETION_S
from artfs.client.remote.paths import project_path
from artfs.client.remote.transport import Transport
from artfs.wire.deletions import Removal, RemovalPlan
from artfs.wire.http import ProjectDeletion


class RemoteDeletions:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def plan(self, project: str, removal: Removal) -> RemovalPlan:
        return self._ask(project, removal, dry_run=True, clean=False)

    def delete(self, project: str, removal: Removal, *, clean: bool = True) -> RemovalPlan:
        return self._ask(project, removal, dry_run=False, clean=clean)

    def _ask(self, project: str, removal: Removal, *, dry_run: bool, clean: bool) -> RemovalPlan:
        body = ProjectDeletion(
            removal.versions, removal.artifacts, removal.whole_project, removal.delete_aliases, dry_run, clean
        )
        url = project_path(project, "deletions")
        return self._transport.send("POST", url, body, RemovalPlan, again=dry_run, wait_s=DELETION_S)
