"""What a registry should hold, as plain records: the model that random histories compare it with."""

from __future__ import annotations

from dataclasses import dataclass, field

from artfs.model.digest import ObjectKey
from artfs.wire.records import DraftRecord
from tests.contract.uploading import Content


@dataclass
class ModelVersion:
    number: int
    content: Content


@dataclass
class ModelArtifact:
    versions: dict[int, ModelVersion] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    history: list[tuple[int, dict[str, int]]] = field(default_factory=list)


@dataclass
class ModelDraft:
    record: DraftRecord
    project: str
    expires_at_ns: int
    holds: set[ObjectKey] = field(default_factory=set)
    contents: list[Content] = field(default_factory=list)
    sealed: tuple[str, int, bool] | None = None
    ended: bool = False


@dataclass
class ModelShared:
    """Of one project, artifact and group; `version` once it is finished."""

    id: str
    expires_at_ns: int
    parts: set[ObjectKey] = field(default_factory=set)
    version: int | None = None
