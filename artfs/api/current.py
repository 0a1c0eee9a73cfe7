"""The current run, and functions that mean it: `artfs.run`, `artfs.log` and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from artfs.api.artifact import Artifact
from artfs.api.init import init
from artfs.api.paths import project_path
from artfs.api.plain import plain_dict
from artfs.api.run import ArtifactOrPath, Run, live_runs
from artfs.api.saved_mapping import SavedMapping
from artfs.api.session import session
from artfs.errors import UsageError
from artfs.model.names import check_name
from artfs.wire.runs import NewSweep


class BeforeInit:
    """What stands for the configuration or the summary while there is no run. Using it raises UsageError."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _no_run()

    def __getitem__(self, key: str) -> NoReturn:
        raise _no_run()

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise _no_run()


def current_run() -> Run | None:
    """The run of this process that was begun last and has not ended."""
    return next(reversed(live_runs()), None)


def current_config() -> SavedMapping | BeforeInit:
    run = current_run()
    return BeforeInit() if run is None else run.config


def current_summary() -> SavedMapping | BeforeInit:
    run = current_run()
    return BeforeInit() if run is None else run.summary


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """`Run.log` of the current run, with its `data`, `step` and `commit`. Raises UsageError if there is none."""
    _need_run().log(data, step, commit)


def log_artifact(
    artifact_or_path: ArtifactOrPath,
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
) -> Artifact:
    """`Run.log_artifact` of the current run, which is begun if there is none.

    Args:
        artifact_or_path: an artifact, or a file or directory to make one of.
        name: of an artifact that is made here.
        type: of an artifact that is made here.
        aliases: moved to the version besides the artifact's own and `latest`.
    """
    return (current_run() or init()).log_artifact(artifact_or_path, name, type, aliases)


def use_artifact(artifact_or_name: Artifact | str, type: str | None = None) -> Artifact:
    """`Run.use_artifact` of the current run.

    Args:
        artifact_or_name: `[project/]name:alias`, or a version that was got or logged before.
        type: raise TypeMismatch if it is of another.

    Raises UsageError if there is no run, and what `Run.use_artifact` raises.
    """
    return _need_run().use_artifact(artifact_or_name, type)


def finish(exit_code: int | None = None) -> None:
    """`Run.finish` of the current run, with its `exit_code`, if there is one."""
    run = current_run()
    if run is not None:
        run.finish(exit_code)


def sweep(sweep: Mapping[str, Any], entity: str | None = None, project: str | None = None) -> str:
    """Make a sweep, and return its id, which runs give to `init`.

    Args:
        sweep: its configuration; `name` is what to call it, `metric` names the goal: `{"name": "val_acc", "goal": "maximize"}`.
        entity: accepted, and stands for the server.
        project: created if need be; the default is that of the configuration.

    Raises InvalidName, InvalidValue.
    """
    if entity:
        check_name("entity", entity)
    now = session()
    where = project_path(project, now.config.project)
    config = plain_dict("the sweep's configuration", dict(sweep))
    now.registry.projects.create(where, exist_ok=True)
    new = NewSweep(name=str(config.get("name") or ""), config=config, created_by=now.creator)
    return now.registry.sweeps.create(where, new).id


def _need_run() -> Run:
    run = current_run()
    if run is None:
        raise _no_run()
    return run


def _no_run() -> UsageError:
    return UsageError("there is no run", hint="call artfs.init() first")
