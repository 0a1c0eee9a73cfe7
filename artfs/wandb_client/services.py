"""The parts of a registry as far as a W&B server is one: the catalog is read, and all else is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from artfs.errors import InvalidValue
from artfs.model.digest import ObjectKey
from artfs.wandb_client.remembered import RememberedCatalog
from artfs.wire.records import ArtifactRecord, Change, Location, ProjectRecord, VersionRecord


def refuse_change(*args: Any, **more: Any) -> NoReturn:
    """Stands for every call that would change something. Raises InvalidValue."""
    raise InvalidValue("a W&B server is only read here", hint="use `wandb artifact put`, or W&B's pages")


def refuse_question(*args: Any, **more: Any) -> NoReturn:
    """Stands for every call about what is not read of a W&B server. Raises InvalidValue."""
    raise InvalidValue(
        "of a W&B server, artfs reads projects, artifacts and versions only", hint="use `wandb`, or W&B's pages"
    )


class Refused:
    """A part of a registry of which every method is `call`."""

    def __init__(self, call: Callable[..., NoReturn]) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._call


class RefusedAccess:
    """Who may do what is told by W&B's pages alone."""

    users: Any = Refused(refuse_question)
    tokens: Any = Refused(refuse_question)
    members: Any = Refused(refuse_question)


class WandbProjects:
    def __init__(self, catalog: RememberedCatalog) -> None:
        self._catalog = catalog

    def list(self, *, after: str = "", limit: int | None = None) -> list[ProjectRecord]:
        return [record for record in self._catalog.projects() if record.name > after][:limit]

    def get(self, project: str) -> ProjectRecord:
        return self._catalog.project(project)

    create = update = delete = refuse_change


class WandbArtifacts:
    def __init__(self, catalog: RememberedCatalog) -> None:
        self._catalog = catalog

    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[ArtifactRecord]:
        return [record for record in self._catalog.artifacts(project) if record.name > after][:limit]

    def get(self, project: str, artifact: str) -> ArtifactRecord:
        return self._catalog.artifact(project, artifact)

    create = update = delete = refuse_change


class WandbVersions:
    def __init__(self, catalog: RememberedCatalog) -> None:
        self._catalog = catalog

    def list(self, project: str, artifact: str, *, after: int = -1, limit: int | None = None) -> list[VersionRecord]:
        return [record for record in self._catalog.versions(project, artifact) if record.number > after][:limit]

    def resolve(self, project: str, artifact: str, selector: str, *, as_of: int | None = None) -> VersionRecord:
        return self._catalog.version(project, artifact, selector, as_of)

    update = plan_delete = delete = plan_removal = remove = refuse_change


class WandbAliases:
    def __init__(self, catalog: RememberedCatalog) -> None:
        self._catalog = catalog

    def list(self, project: str, artifact: str, *, as_of: int | None = None) -> dict[str, int]:
        return self._catalog.aliases(project, artifact, as_of)

    move = remove = refuse_change


class NoObjects:
    """A W&B server has files, not objects of a registry."""

    def locate(self, project: str, keys: Sequence[ObjectKey]) -> list[Location | None]:
        return [None] * len(keys)


class NoChanges:
    """Nobody tells of changes there: what is remembered grows old by itself."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    def position(self) -> int:
        return 0

    def since(self, seq: int, limit: int = 1000) -> list[Change]:
        return []

    def wait(self, seq: int, timeout_s: float) -> int:
        self._closed.wait(max(timeout_s, 0.0))
        return 0

    def close(self) -> None:
        self._closed.set()
