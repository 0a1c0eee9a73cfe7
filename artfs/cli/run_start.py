"""The beginning of `artfs run`: the run in the registry, word of it for the mounts, and the current directory entered anew."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from artfs.cli.working_directory import enter_again
from artfs.errors import ProjectNotFound, Unavailable
from artfs.fuse.mount_records import MountRecords
from artfs.fuse.observing import observe
from artfs.fuse.process_records import read_process
from artfs.fuse.running_runs import RunningRun
from artfs.model.lineage import RunRef
from artfs.wire.runs import NewRun
from artfs.wire.service import Registry

FAREWELL_S = 0.5
ATTEND_S = 3.0  # a mount that was just begun may not answer yet


def start_run(registry: Registry, project: str, new: NewRun) -> RunRef:
    """Start a run, in a new project if need be."""
    try:
        return registry.runs.start(project, new).ref
    except ProjectNotFound:
        registry.projects.create(project, exist_ok=True)
        return registry.runs.start(project, new).ref


@contextmanager
def written_down(records: MountRecords, run: RunRef, identity: str, registry: str) -> Iterator[RunningRun]:
    """This process is the root of `run`, for the mounts of the registry with that identity, while the context lasts."""
    facts = read_process(os.getpid())
    if facts is None:
        raise Unavailable("/proc does not tell of this process", hint="mount /proc")
    running = RunningRun(os.getpid(), facts.started_ticks, run, identity)
    records.runs.write(running)
    try:
        yield running
    finally:
        records.runs.remove(running)
        observe(records, running, registry, FAREWELL_S)  # whoever is asked looks, and finds that it is over


def attend(records: MountRecords, running: RunningRun, registry: str) -> list[str]:
    """Have all mounts attend to the run; returns those that do not answer. The current directory may be in one of them."""
    deadline = time.monotonic() + ATTEND_S
    while (silent := observe(records, running, registry).silent) and time.monotonic() < deadline:
        time.sleep(0.05)
    enter_again()
    return silent
