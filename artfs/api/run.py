"""A run that goes on in this process: what it logs, uses and contributes to, and how it ends."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from artfs.api.artifact import Artifact
from artfs.api.artifact_facts import Sealed
from artfs.api.exit_watch import exit_code_after
from artfs.api.last_tries import try_last
from artfs.api.media import Storable
from artfs.api.paths import VersionPath, valid_name
from artfs.api.plain import plain_dict, plain_values
from artfs.api.run_facts import RunFacts
from artfs.api.run_log import STEP, RunLog
from artfs.api.saved_mapping import SavedMapping
from artfs.api.version_edit import unique_aliases
from artfs.errors import ArtfsError, TypeMismatch, UsageError
from artfs.model.lineage import EdgeKind, RunState, VersionRef
from artfs.wire.records import VersionChange
from artfs.wire.runs import RunChange

if TYPE_CHECKING:
    from artfs.api.commit import Wanted
    from artfs.api.session import Session
    from artfs.wire.records import VersionRecord
    from artfs.wire.runs import RunRecord

_logger = logging.getLogger(__name__)

_SCALARS = (bool, int, float, str)  # told apart at once: asking for a protocol's methods takes ten times as long

TABLE_TYPE = "run_table"  # of tables that are logged as values
UNSPECIFIED_TYPE = "unspecified"  # of files that are logged without saying what they are

ArtifactOrPath = Artifact | str | os.PathLike[str]


class Run(RunFacts):
    """What `artfs.init` gives. A context manager: leaving the block ends the run, as failed if by an exception.

    Safe to use from several threads of the process that it was begun in; in a forked child its methods raise UsageError.

    Args:
        owned: whether it ends with this process. Otherwise somebody else began it, and ends it.
    """

    def __init__(self, session: Session, record: RunRecord, *, owned: bool = True) -> None:
        super().__init__(session, record)
        self._owned = owned
        self._pid = os.getpid()
        self._ending = threading.Lock()
        self._has_ended = False
        first = record.summary.get(STEP, -1) + 1 if isinstance(record.summary.get(STEP), int) else 0
        self._log = self._open_log(first)
        self._config = SavedMapping(record.config, lambda v: plain_dict("config", v), self._keep_config)
        self._summary = SavedMapping(record.summary, lambda v: plain_values("summary", v), self._keep_summary)

    @property
    def state(self) -> str:
        """`running`, `finished` or `failed`."""
        return self._record.state.value

    @property
    def config(self) -> SavedMapping:
        """What goes in, such as learning rates. What is set is kept within seconds, at the latest when the run ends."""
        return self._config

    @property
    def summary(self) -> SavedMapping:
        """The last of each value that was logged, or what was set instead. Kept like `config`."""
        return self._summary

    @property
    def step(self) -> int:
        """The step that `log` logs next."""
        return self._log.step

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Add values to the history, and set them in the summary. They are sent within seconds, many at once.

        Args:
            data: the values, by name. A table becomes a version of an artifact `run-ID-NAME`, to which the value then points.
            step: what they belong to; the default is one more than that of the log before. Steps do not go back.
            commit: False if more values of the same step follow, which is also meant where `step` is given.

        Raises InvalidValue for what JSON cannot hold, and what sending raised earlier.
        """
        self._check()
        kept = {key: self._pointed_to(key, value) for key, value in data.items()}
        values = plain_values("what is logged", kept)
        done = step is None if commit is None else commit
        self._summary.note(self._log.add(values, step, commit=done))

    def log_artifact(
        self,
        artifact_or_path: ArtifactOrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Artifact:
        """Make a version of an artifact, logged by this run, and return it when it is sealed.

        Content that equals the newest version's makes no new version: this run has logged that one too, and its aliases,
        description and metadata are what the artifact says. One that is a version already is noted as logged.

        Args:
            artifact_or_path: an artifact, or a file or directory to make one of.
            name: of an artifact that is made here.
            type: of an artifact that is made here.
            aliases: moved to the version besides the artifact's own and `latest`.

        Raises TypeMismatch, StorageFull, RegistryUnavailable and what storing raises; then nothing was logged.
        """
        self._check()
        artifact = self._artifact_of(artifact_or_path, name, type)
        more = unique_aliases(aliases or ())
        if artifact._sealed is not None:
            return self._note_logged(artifact, more)
        from artfs.api.commit import commit

        wanted = self._wanted(artifact, more)
        artifact._become(Sealed(self._session, commit(self._session, wanted)))
        return artifact

    def use_artifact(self, artifact_or_name: Artifact | str, type: str | None = None) -> Artifact:
        """Note that this run uses a version, and return it.

        Args:
            artifact_or_name: `[project/]name:alias`, or a version that was got or logged before.
            type: raise TypeMismatch if it is of another.

        Raises NotFound errors, LineageCycle if it follows from what this run logged.
        """
        self._check()
        artifact = self._used(artifact_or_name, type)
        self._record_edge(EdgeKind.USED, artifact._need_sealed().version)
        return artifact

    def upsert_artifact(
        self,
        artifact_or_path: ArtifactOrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Contribute to a version that several runs make together, until one of them calls `finish_artifact`.

        They find each other by the artifact's name and the group of their runs. When this returns, what was contributed is
        kept, whatever becomes of this process.

        Args:
            artifact_or_path: an artifact, or a file or directory to make one of.
            name: of an artifact that is made here.
            type: of an artifact that is made here.
            aliases: moved to the version, when it is made, besides those of other runs and `latest`.
            distributed_id: what they have in common instead of the group.

        Raises DraftClosed if it was finished, UsageError without a group, and what `log_artifact` raises.
        """
        self._check()
        artifact = self._draft_of(artifact_or_path, name, type)
        from artfs.api.commit import contribute

        wanted = self._wanted(artifact, unique_aliases(aliases or ()))
        contribute(self._session, wanted, self._shared_id(distributed_id))
        return artifact

    def finish_artifact(
        self,
        artifact_or_path: ArtifactOrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Contribute, and make a version of what all have contributed, which is returned. All of their runs have logged it.

        Args:
            artifact_or_path: an artifact, or a file or directory to make one of.
            name: of an artifact that is made here.
            type: of an artifact that is made here.
            aliases: moved to the version besides those that others asked for and `latest`.
            distributed_id: as for `upsert_artifact`.

        Raises PathConflict naming paths that two runs gave different content, Conflict for metadata or a description that they
        disagree on, DraftClosed if it was finished before. Then there is no version.
        """
        self._check()
        artifact = self._draft_of(artifact_or_path, name, type)
        from artfs.api.commit import finish

        wanted = self._wanted(artifact, unique_aliases(aliases or ()))
        version = finish(self._session, wanted, self._shared_id(distributed_id))
        artifact._become(Sealed(self._session, version))
        return artifact

    def finish(self, exit_code: int | None = None) -> None:
        """End the run when all is sent: as finished if `exit_code` is 0 or None, else as failed. Repeatable.

        Raises what sending raises, of a registry out of reach after 15 s. A run of `artfs run` goes on.
        """
        self._check_process()
        with self._ending:
            if self._has_ended:
                return
            try:
                self._send_last(exit_code or 0)
            finally:
                self._has_ended = True
                self._log.stop()
                forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._pid:  # a forked child leaves its parent's block
            return
        exit_code = 0 if error is None else exit_code_after(error)
        try:
            self.finish(exit_code)
        except ArtfsError as failure:
            if error is None:
                raise
            _logger.error("the run %s is not ended: %s", self.id, failure)  # and what left the block goes on

    def _pointed_to(self, key: str, value: Any) -> Any:
        """What the history says of `value`: of a table, where it is."""
        if isinstance(value, _SCALARS) or not isinstance(value, Storable):
            return value
        artifact = Artifact(valid_name(f"run-{self.id}-{key}"), TABLE_TYPE)
        path = artifact.add(value, key)
        self.log_artifact(artifact)
        return {"_type": "table-file", "artifact": f"{self.project}/{artifact.name}", "path": path}

    def _open_log(self, first_step: int) -> RunLog:
        return RunLog(self._session.registry.runs, self.project, self.id, step=first_step)

    def _send_last(self, exit_code: int) -> None:
        what = f"the run {self.id} cannot be ended"
        try_last(what, self._log.flush)
        if self._owned:
            self._record = try_last(what, lambda: self._ended(exit_code))

    def _ended(self, exit_code: int) -> RunRecord:
        state = RunState.FAILED if exit_code else RunState.FINISHED
        change = RunChange(state=state, exit_code=exit_code)
        return self._session.registry.runs.update(self.project, self.id, change)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise UsageError(
                f"the run {self.project}/{self.id} belongs to another process", hint="call artfs.init() in this one"
            )

    def _check(self) -> None:
        self._check_process()
        if self._has_ended:
            raise UsageError(
                f"the run {self.project}/{self.id} has ended", hint=f"artfs.init(id={self.id!r}, resume='must')"
            )

    def _change(self, change: RunChange) -> None:
        self._check()
        self._log.change(change)
        known = self._record
        self._record = msgspec.structs.replace(
            known,
            notes=known.notes if change.notes is None else change.notes,
            tags=known.tags if change.tags is None else change.tags,
        )

    def _keep_config(self, values: Mapping[str, Any]) -> None:
        self._check()
        self._log.change(RunChange(config=dict(values)))

    def _keep_summary(self, values: Mapping[str, Any]) -> None:
        self._check()
        self._log.change(RunChange(summary=dict(values)))

    def _artifact_of(self, given: ArtifactOrPath, name: str | None, type: str | None) -> Artifact:
        """The artifact, made of a path if need be."""
        if isinstance(given, Artifact):
            return given
        path = Path(given)
        artifact = Artifact(name or f"run-{self.id}-{path.resolve().name}", type or UNSPECIFIED_TYPE)
        if path.is_dir():
            artifact.add_dir(path)
        else:
            artifact.add_file(path)
        return artifact

    def _draft_of(self, given: ArtifactOrPath, name: str | None, type: str | None) -> Artifact:
        artifact = self._artifact_of(given, name, type)
        if artifact._sealed is not None:
            raise UsageError(f"{artifact.name} is logged and takes nothing more", hint="make a new artfs.Artifact")
        return artifact

    def _wanted(self, artifact: Artifact, aliases: Sequence[str]) -> Wanted:
        from artfs.api.commit import Wanted

        run, edit, content = f"{self.project}/{self.id}", artifact._edit, artifact._content
        return Wanted(self.project, artifact.name, artifact.type, edit, content, run, aliases)

    def _shared_id(self, distributed_id: str | None) -> str:
        group = distributed_id or self.group
        if not group:
            raise UsageError(
                "runs that make a version together need a name for it", hint="artfs.init(group=...), or distributed_id="
            )
        return group

    def _used(self, given: Artifact | str, type: str | None) -> Artifact:
        artifact = given
        if not isinstance(artifact, Artifact):
            path = VersionPath.parse(artifact, self.project)
            version = self._session.registry.versions.resolve(path.project, path.artifact, path.selector)
            artifact = Artifact._of(Sealed(self._session, version))
        if type is not None and artifact.type != type:
            raise TypeMismatch(f"{artifact.name} is of type {artifact.type!r}, not {type!r}")
        return artifact

    def _note_logged(self, artifact: Artifact, aliases: list[str]) -> Artifact:
        session, version = artifact._need_sealed()
        self._record_edge(EdgeKind.LOGGED, version)
        if aliases:
            change = VersionChange(added_aliases=aliases)
            artifact._load(session.registry.versions.update(version.project, version.artifact, version.number, change))
        return artifact

    def _record_edge(self, kind: EdgeKind, version: VersionRecord) -> None:
        ref = VersionRef(version.project, version.artifact, version.number)
        self._session.registry.lineage.record(self.project, self.id, kind, [ref])


_live: list[
    Run
] = []  # those of this process that have not ended, the current one last; changed by its threads one at a time
_lock = threading.Lock()


def remember(run: Run) -> None:
    """It is the current run now."""
    with _lock:
        _live.append(run)


def forget(run: Run) -> None:
    with _lock:
        if run in _live:
            _live.remove(run)


def live_runs() -> list[Run]:
    """The runs of this process that have not ended, the current one last."""
    with _lock:
        return list(_live)


def _begin_child() -> None:
    global _lock
    _lock = threading.Lock()
    _live.clear()


os.register_at_fork(after_in_child=_begin_child)
