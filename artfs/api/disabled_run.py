"""A run that nobody keeps: scripts work as ever, and nothing of what they log reaches the registry."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from artfs.api.artifact import Artifact
from artfs.api.listing import Listing
from artfs.api.run import ArtifactOrPath, Run
from artfs.api.run_log import RunLog
from artfs.model.lineage import RunState, choose_id
from artfs.wire.runs import HistoryRow, RunChange, RunRecord

if TYPE_CHECKING:
    from artfs.api.session import Session
    from artfs.wire.runs import NewRun


class _Nobody:
    """Keeps nothing of a log."""

    def update(self, project: str, run: str, change: RunChange, /) -> None: ...
    def log(self, project: str, run: str, rows: Sequence[HistoryRow], /) -> None: ...


class DisabledRun(Run):
    """What `artfs.init(mode="disabled")` gives. Artifacts are used without a trace; logging one changes nothing."""

    def __init__(self, session: Session, project: str, new: NewRun) -> None:
        now_ns, id_ = time.time_ns(), new.id or choose_id(os.urandom)
        record = RunRecord(
            project=project,
            id=id_,
            number=0,
            name=new.name or id_,
            state=RunState.RUNNING,
            group=new.group,
            job_type=new.job_type,
            sweep=new.sweep,
            config=dict(new.config),
            summary={},
            created_at_ns=now_ns,
            created_by=new.created_by,
            heard_of_at_ns=now_ns,
            notes=new.notes,
            tags=list(new.tags),
        )
        super().__init__(session, record)

    def log_artifact(
        self,
        artifact_or_path: ArtifactOrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Artifact:
        """Check what it is, and return it."""
        self._check()
        return self._artifact_of(artifact_or_path, name, type)

    def use_artifact(self, artifact_or_name: Artifact | str, type: str | None = None) -> Artifact:
        """The version, without noting that it is used."""
        self._check()
        return self._used(artifact_or_name, type)

    def upsert_artifact(
        self,
        artifact_or_path: ArtifactOrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """The same as `log_artifact`."""
        return self.log_artifact(artifact_or_path, name, type, aliases)

    def finish_artifact(
        self,
        artifact_or_path: ArtifactOrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """The same as `log_artifact`."""
        return self.log_artifact(artifact_or_path, name, type, aliases)

    def logged_artifacts(self) -> Listing[Artifact]:
        """None."""
        return Listing([])

    def used_artifacts(self) -> Listing[Artifact]:
        """None."""
        return Listing([])

    def _open_log(self, first_step: int) -> RunLog:
        return RunLog(_Nobody(), self.project, self.id, step=first_step)

    def _ended(self, exit_code: int) -> RunRecord:
        state = RunState.FAILED if exit_code else RunState.FINISHED
        return msgspec.structs.replace(self._record, state=state, exit_code=exit_code)
