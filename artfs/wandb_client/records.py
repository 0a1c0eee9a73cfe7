"""A registry's records of what a W&B server tells. Lenient: what is missing or strange there makes no artifact unreadable."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from artfs.errors import InvalidName
from artfs.model.digest import Digest
from artfs.model.names import check_alias, check_name, parse_version
from artfs.wandb_client.queries import COMMITTED, Collection, Edge, Project, Version
from artfs.wandb_client.versions import WandbVersion
from artfs.wire.records import ArtifactRecord, ProjectRecord, VersionRecord

LEFT_OUT_MAX = 10_000  # that are told in the log
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_log = logging.getLogger(__name__)


class ShownNames:
    """Which names of the server can be names here; each that cannot is told once, in the log.

    Owner of what was told: this. Threads that meet may tell it twice.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def shows(self, what: str, name: str, where: str) -> bool:
        """`what` is an alias, or another kind of name."""
        try:
            check_alias(name) if what == "alias" else check_name(what, name)
        except InvalidName as error:
            if (where, name) not in self._told and len(self._told) < LEFT_OUT_MAX:
                self._told.add((where, name))
                _log.warning("%s is left out: %s", where, error.message)
            return False
        return True


@dataclass(frozen=True, slots=True)
class VersionRecords:
    """All versions of an artifact, by number, and what its aliases mean."""

    records: dict[int, VersionRecord]
    aliases: dict[str, int]

    def __len__(self) -> int:
        return len(self.records)

    def find(self, selector: str) -> VersionRecord | None:
        number = parse_version(selector)
        return self.records.get(self.aliases.get(selector, -1) if number is None else number)


class ArtifactPlace(NamedTuple):
    """The collection that versions are of; `id` is what the server calls it."""

    entity: str
    project: str
    artifact: str
    id: str


def project_record(told: Project) -> ProjectRecord:
    uid = Digest.of(f"wandb-project\0{told.id}".encode())[:16]
    return ProjectRecord(told.name, uid, time_ns(told.created_at))


def artifact_record(project: str, told: Collection) -> ArtifactRecord:
    type_ = told.default_artifact_type
    count = 0 if told.artifacts is None else told.artifacts.total_count
    return ArtifactRecord(
        project,
        told.name,
        None if type_ is None else type_.name,
        told.description or "",
        time_ns(told.created_at),
        count,
    )


def number_of(edge: Edge[Version]) -> int | None:
    """Which number a version has in the collection that was asked for; None for one that cannot be read."""
    number = parse_version(edge.version or "")
    return number if number is not None or edge.node is None else edge.node.version_index


def version_of(
    place: ArtifactPlace, number: int | None, told: Version | None, names: ShownNames
) -> tuple[WandbVersion, VersionRecord] | None:
    """None for one that is not committed, or is deleted."""
    if told is None or told.state != COMMITTED or number is None or number < 0 or not told.digest:
        return None
    created_at_ns = (
        time_ns(told.created_at) + number
    )  # a server tells seconds: of two in one second, the later is later
    found = WandbVersion(place.entity, place.project, place.artifact, number, told.id, told.digest, created_at_ns)
    where = f"{place.project}/{place.artifact}:v{number}"
    aliases = {
        one.alias
        for one in told.aliases or ()
        if one.artifact_collection is not None and one.artifact_collection.id == place.id
    }
    record = VersionRecord(
        project=place.project,
        artifact=place.artifact,
        number=number,
        root=found.root,
        type=told.artifact_type.name if told.artifact_type is not None else "",
        description=told.description or "",
        metadata=metadata_of(told.metadata),
        size_bytes=max(told.size or 0, 0),
        file_count=max(told.file_count or 0, 0),
        created_at_ns=created_at_ns,
        created_by="",
        aliases=sorted(alias for alias in aliases if names.shows("alias", alias, f"an alias of {where}")),
    )
    return found, record


def time_ns(text: str | None) -> int:
    """A time as ISO 8601 writes it, without a zone that of Greenwich; 0 for none, or another form."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return 0
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return max(0, (aware - _EPOCH) // timedelta(microseconds=1) * 1000)


def metadata_of(text: str | None) -> dict[str, Any]:
    """The JSON object in `text`, with what is no JSON by its standard, such as NaN, as text; empty for anything else."""
    try:
        found = json.loads(text or "{}", parse_constant=str)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
