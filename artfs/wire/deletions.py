"""What is to be deleted of a project together, and what that comes to."""

from __future__ import annotations

import msgspec

from artfs.wire.records import DeletionPlan


class Removal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a project is to go.

    `versions` are numbers by artifact; `artifacts` go with all their versions, and with `whole_project` everything does and the
    project itself. Versions of the first kind that aliases mean are refused, unless the aliases are to go along.
    """

    versions: dict[str, list[int]] = {}
    artifacts: list[str] = []
    whole_project: bool = False
    delete_aliases: bool = False


class ArtifactRemoval(msgspec.Struct, frozen=True):
    """The versions of one artifact that go, and the aliases that mean them; `is_whole` if the artifact goes too."""

    artifact: str
    numbers: list[int]
    aliases: list[str]
    is_whole: bool = False


class RemovalPlan(msgspec.Struct, frozen=True):
    """What a removal would do, or did.

    `object_count` and `freed_bytes` are of what nothing else holds: stored bytes, each counted once, whatever shared it.
    """

    project: str
    artifacts: list[ArtifactRemoval]
    object_count: int
    freed_bytes: int
    whole_project: bool = False

    @property
    def version_count(self) -> int:
        return sum(len(one.numbers) for one in self.artifacts)

    def of_one(self, artifact: str) -> DeletionPlan:
        """The same as the plan of the only artifact it is about."""
        for one in self.artifacts:
            return DeletionPlan(self.project, artifact, one.numbers, one.aliases, self.object_count, self.freed_bytes)
        return DeletionPlan(self.project, artifact, [], [], self.object_count, self.freed_bytes)


class Collected(msgspec.Struct, frozen=True):
    """What collecting did, or would do.

    `expired` has a plan for each project with versions whose time had come; `draft_count` uploads were given up or had
    ended; `object_count` and `freed_bytes` are of all of it together, and those of the plans are in it.
    """

    expired: list[RemovalPlan]
    draft_count: int
    object_count: int
    freed_bytes: int

    @property
    def version_count(self) -> int:
        return sum(plan.version_count for plan in self.expired)
