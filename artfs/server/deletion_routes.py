"""Deleting versions, artifacts and a project, together."""

from __future__ import annotations

from artfs.server.catalog_routes import PROJECT
from artfs.server.routes import Call, Operation
from artfs.wire.deletions import RemovalPlan
from artfs.wire.http import ProjectDeletion


def delete(call: Call) -> RemovalPlan:
    deletion: ProjectDeletion = call.body
    if deletion.dry_run:
        return call.registry.versions.plan_removal(call.path["project"], deletion.removal)
    return call.registry.versions.remove(call.path["project"], deletion.removal, clean=deletion.clean)


OPERATIONS = (
    Operation(
        "POST",
        PROJECT + "/deletions",
        "Delete versions, artifacts or the whole project, or plan to",
        delete,
        body=ProjectDeletion,
        answer=RemovalPlan,
    ),
)
