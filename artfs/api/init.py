"""`artfs.init`: the run that its arguments and the environment together ask for, and how it ends with the process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from artfs.api.artifact import CODE_TYPE, Artifact
from artfs.api.code import main_program, source_name
from artfs.api.exit_watch import UNCAUGHT, ExitWatch, watch_exit
from artfs.api.paths import project_path, run_path
from artfs.api.plain import plain_dict, plain_tags
from artfs.api.run import Run, live_runs, remember
from artfs.api.session import session
from artfs.errors import ArtfsError, InvalidValue
from artfs.model.lineage import Resume, RunRef
from artfs.model.names import check_name
from artfs.wire.runs import NewRun

RUN_SETTING = "ARTFS_RUN"  # `project/id` of the run that this process is a part of: somebody else began it, and ends it
SWEEP_SETTING = "ARTFS_SWEEP_ID"
GROUP_SETTING = "ARTFS_RUN_GROUP"

Mode = Literal["online", "disabled"]
Resuming = bool | Literal["allow", "must", "never", "auto"]

_RESUMES: dict[Resuming | None, Resume] = {
    None: Resume.NEVER,
    False: Resume.NEVER,
    "never": Resume.NEVER,
    True: Resume.ALLOW,
    "allow": Resume.ALLOW,
    "auto": Resume.ALLOW,
    "must": Resume.MUST,
}

_log = logging.getLogger(__name__)
_watched_pid = 0  # the process whose end ends its runs


class Asked(NamedTuple):
    """Which run is meant. `is_part` of one that somebody else began; `is_named` if it is not just any."""

    project: str
    id: str
    sweep: str
    resume: Resume
    is_part: bool
    is_named: bool

    @classmethod
    def of(cls, project: str | None, id: str | None, sweep: str | None, resume: Resuming | None) -> Asked:
        """By arguments of `init`, and by the environment where they say nothing."""
        if resume not in _RESUMES:
            raise InvalidValue(f"resume={resume!r} means nothing", hint="write allow, must or never")
        default = session().config.project
        sweep = sweep or os.environ.get(SWEEP_SETTING)
        of_sweep = run_path(sweep, project_path(project, default)) if sweep else None
        where = project_path(project, of_sweep.project if of_sweep else default)
        is_named = bool(id or project)
        part_of = os.environ.get(RUN_SETTING)
        if part_of and not id:
            ref = RunRef.parse(part_of)
            if project is None or where == ref.project:
                return cls(ref.project, ref.id, of_sweep.id if of_sweep else "", Resume.ALLOW, True, is_named)
        return cls(where, id or "", of_sweep.id if of_sweep else "", _RESUMES[resume], False, is_named)


def init(
    project: str | None = None,
    entity: str | None = None,
    *,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    dir: str | os.PathLike[str] | None = None,
    group: str | None = None,
    job_type: str | None = None,
    sweep: str | None = None,
    config: Mapping[str, Any] | Namespace | None = None,
    resume: Resuming | None = None,
    reinit: bool = False,
    save_code: bool = False,
    mode: Mode = "online",
) -> Run:
    """Begin a run, or go on with one; from then on it is `artfs.run`. docs/python.md says how runs end.

    Args:
        project: created if need be. The default is that of the configuration, or `uncategorized`.
        entity: accepted, and stands for the server.
        id: the registry chooses one if there is none; in a process of `artfs run`, no id means its run.
        name: what to call it; the default is the id.
        notes: what it is about, in words.
        tags: words to find it by.
        dir: accepted; nothing is kept in files of the run.
        group: what it does together with other runs; the default is ARTFS_RUN_GROUP.
        job_type: such as `train`.
        sweep: `id` or `project/id` of a sweep that it is one of; the default is ARTFS_SWEEP_ID.
        config: what goes in, such as learning rates: a mapping, or what argparse gives.
        resume: `allow` or True goes on with a run of that id if there is one, `must` raises RunNotFound if there is none,
            `never` (the default) raises AlreadyExists if there is one.
        reinit: True ends the current run before. Otherwise that is what is returned, unless another id or project is given.
        save_code: also log the running script or notebook, as an artifact of type `code`.
        mode: `disabled` keeps nothing.
    """
    if entity:
        check_name("entity", entity)
    asked = Asked.of(project, id, sweep, resume)
    group = group or os.environ.get(GROUP_SETTING, "")
    given = plain_dict("config", vars(config) if isinstance(config, Namespace) else config or {})
    creator = session().creator
    said = (name or "", notes or "", plain_tags(tags or ()), group, job_type or "")
    new = NewRun(asked.id, asked.resume, *said, asked.sweep, given, creator)
    run = _current(asked, reinit=reinit) or _begin(asked, new, mode)
    if save_code:
        _save_code(run)
    return run


def _save_code(run: Run) -> None:
    """Let the run log the main script or notebook, if there is one."""
    program = main_program()
    if program is not None:
        artifact = Artifact(source_name(run.project, program), CODE_TYPE)
        artifact.add_file(program.path)
        run.log_artifact(artifact)


def _current(asked: Asked, *, reinit: bool) -> Run | None:
    """The run that goes on already, if that is what is meant; otherwise it is ended."""
    for run in live_runs()[-1:]:
        is_meant = not asked.is_named or (run.project == asked.project and asked.id in ("", run.id))
        if is_meant and not reinit:
            return run
        _log.info("the run %s/%s is ended, since another is begun", run.project, run.id)
        run.finish()
    return None


def _begin(asked: Asked, new: NewRun, mode: Mode) -> Run:
    now = session()
    if mode == "disabled":
        from artfs.api.disabled_run import DisabledRun

        run: Run = DisabledRun(now, asked.project, new)
    elif mode == "online":
        now.registry.projects.create(asked.project, exist_ok=True)
        run = Run(now, now.registry.runs.start(asked.project, new), owned=not asked.is_part)
    else:
        raise InvalidValue(f"mode={mode!r} means nothing", hint="write online or disabled")
    remember(run)
    _watch_process(watch_exit())
    return run


def _watch_process(watch: ExitWatch) -> None:
    """Let the end of this process end its runs, also where it is a worker of multiprocessing, which ends without `atexit`."""
    global _watched_pid
    if _watched_pid == os.getpid():
        return
    _watched_pid = os.getpid()
    atexit.register(_end_runs, watch)
    if "multiprocessing" in sys.modules:
        from multiprocessing.process import parent_process
        from multiprocessing.util import Finalize

        if parent_process() is not None:
            Finalize(None, _end_runs, args=(watch,), exitpriority=100)


def _end_runs(watch: ExitWatch) -> None:
    """End what goes on. In a worker of multiprocessing, the exception that ends it is still on its way."""
    error = sys.exc_info()[1]
    code = watch.exit_code or (UNCAUGHT if error is not None and not isinstance(error, SystemExit) else 0)
    for run in reversed(live_runs()):
        try:
            run.finish(code)
        except ArtfsError as failed:
            _log.error("the run %s/%s was not ended properly: %s", run.project, run.id, failed)
