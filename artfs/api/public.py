"""`artfs.Api`: everything in the registry that is not being made by this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from artfs.api.artifact import Artifact
from artfs.api.artifact_facts import Sealed
from artfs.api.collections import (
    ArtifactCollection,
    ArtifactType,
    Project,
    artifact_collections,
    artifact_types,
    artifact_versions,
)
from artfs.api.listing import PAGE_ITEMS, Listing, pages_of
from artfs.api.paths import VersionPath, artifact_path, project_path, run_path
from artfs.api.recorded_run import RecordedRun
from artfs.api.run_query import NEWEST_FIRST, check_filters, matches, ordered
from artfs.api.session import session
from artfs.api.sweep import Sweep
from artfs.errors import ArtifactNotFound, InvalidValue, TypeMismatch
from artfs.model.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artfs.api.session import Session
    from artfs.wire.records import ProjectRecord
    from artfs.wire.runs import RunRecord

_OVERRIDES = ("project", "entity", "registry")


class Api:
    """Reads the registry that is configured, and changes what is said there. Safe to use from several threads.

    Names of artifacts are `project/name:alias` or, in the project of `overrides`, `name:alias`; before a project there may be an
    entity, which stands for the server. Without an alias, `latest` is meant.

    Args:
        overrides: `project`: of names that have none. `registry`: a directory or URL instead of the configured one. `entity`:
            accepted, and stands for the server.

    Raises InvalidValue for other overrides.
    """

    def __init__(self, overrides: Mapping[str, str | None] | None = None) -> None:
        given = dict(overrides or {})
        unknown = sorted(set(given) - set(_OVERRIDES))
        if unknown:
            raise InvalidValue(f"{unknown[0]!r} cannot be overridden", hint=f"known: {', '.join(_OVERRIDES)}")
        if given.get("entity"):
            check_name("entity", str(given["entity"]))
        self._settings = {"registry": given.get("registry")}
        self._project = self._session.project(given.get("project"))

    @property
    def _session(self) -> Session:
        return session(self._settings)

    @property
    def default_entity(self) -> str:
        """The caller's name on the server, or on this machine if there is none."""
        return self._session.entity

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """A version.

        Args:
            name: `project/name:alias`, `name:v3`; see above for what may be left out.
            type: what it must be of.

        Raises ProjectNotFound, ArtifactNotFound, AliasNotFound, VersionNotFound, InvalidName, and TypeMismatch if it is of
        another type.
        """
        path = VersionPath.parse(name, self._project)
        now = self._session
        version = now.registry.versions.resolve(path.project, path.artifact, path.selector)
        if type is not None and version.type != type:
            raise TypeMismatch(f"{name} is of type {version.type!r}, not {type!r}")
        return Artifact._of(Sealed(now, version))

    def artifact_versions(self, type_name: str, name: str) -> Listing[Artifact]:
        """All versions of an artifact, newest first.

        Args:
            type_name: its type.
            name: `project/name`, or `name` in the project of `overrides`.

        Raises ArtifactNotFound, also if the artifact is of another type.
        """
        project, artifact = artifact_path(name, self._project)
        now = self._session
        found = now.registry.artifacts.get(project, artifact).type
        if found != type_name:
            raise ArtifactNotFound(
                f"there is no {project}/{artifact} of type {type_name!r}", hint=f"its type is {found!r}"
            )
        return artifact_versions(now, project, artifact)

    def artifacts(self, type_name: str, name: str) -> Listing[Artifact]:
        """The same as `artifact_versions`, with its `type_name` and `name`."""
        return self.artifact_versions(type_name, name)

    def artifact_types(self, project: str | None = None) -> Listing[ArtifactType]:
        """The types that artifacts of a project have, by name.

        Args:
            project: the default is that of `overrides`.
        """
        return artifact_types(self._session, project_path(project, self._project))

    def artifact_type(self, type_name: str, project: str | None = None) -> ArtifactType:
        """One of them, also if no artifact has it yet.

        Args:
            type_name: such as `dataset`.
            project: the default is that of `overrides`.

        Raises InvalidName.
        """
        return ArtifactType(self._session, project_path(project, self._project), check_name("type", type_name))

    def artifact_collections(self, project_name: str, type_name: str) -> Listing[ArtifactCollection]:
        """The artifacts of a type, by name.

        Args:
            project_name: the project, also with an entity before it.
            type_name: such as `dataset`.
        """
        return artifact_collections(self._session, project_path(project_name, self._project), type_name)

    def run(self, path: str) -> RecordedRun:
        """A run.

        Args:
            path: `project/id`, also with an entity before it, or `id` in the project of `overrides`.

        Raises RunNotFound, InvalidName.
        """
        ref = run_path(path, self._project)
        now = self._session
        return RecordedRun(now, now.registry.runs.get(ref.project, ref.id))

    def runs(
        self, path: str | None = None, filters: Mapping[str, Any] | None = None, order: str = NEWEST_FIRST
    ) -> Listing[RecordedRun]:
        """Runs of a project.

        Args:
            path: the project, also with an entity before it.
            filters: what runs must have, such as `{"group": "a", "state": "finished", "config.lr": {"$lt": 0.1}}`.
            order: `+` or `-` and what to order by: `+created_at`, `-summary.val_acc`.

        Raises InvalidValue for filters and orders that are not known.
        """
        now, project, wanted = self._session, project_path(path, self._project), dict(filters or {})
        check_filters(wanted)
        ordered([], order)
        group, sweep = (wanted[key] if isinstance(wanted.get(key), str) else "" for key in ("group", "sweep"))

        def ask(last: RunRecord | None) -> list[RunRecord]:
            after = -1 if last is None else last.number
            return now.registry.runs.list(project, group=group, sweep=sweep, after=after, limit=PAGE_ITEMS)

        def pages() -> Iterator[list[RecordedRun]]:
            found = [run for page in pages_of(ask, lambda run: run) for run in page if matches(run, wanted)]
            yield [RecordedRun(now, run) for run in ordered(found, order)]

        return Listing(pages())

    def sweep(self, path: str) -> Sweep:
        """A sweep.

        Args:
            path: `project/id`, also with an entity before it, or `id` in the project of `overrides`.

        Raises SweepNotFound, InvalidName.
        """
        ref = run_path(path, self._project)
        now = self._session
        return Sweep(now, now.registry.sweeps.get(ref.project, ref.id))

    def projects(self, entity: str | None = None) -> Listing[Project]:
        """The projects that the caller may read, by name.

        Args:
            entity: accepted, and stands for the server.
        """
        now = self._session

        def ask(last: ProjectRecord | None) -> list[ProjectRecord]:
            return now.registry.projects.list(after="" if last is None else last.name, limit=PAGE_ITEMS)

        return Listing(pages_of(ask, lambda record: Project(now, record)))
