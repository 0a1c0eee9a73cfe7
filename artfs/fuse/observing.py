"""Asking all mounts of this user what a run did through them: the side of `artfs run`. Must not import pyfuse3 or trio."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec

from artfs.errors import Unavailable
from artfs.fuse.control import ask
from artfs.fuse.mount_records import MountRecord, MountRecords
from artfs.fuse.running_runs import RunningRun, RunTold
from artfs.model.lineage import VersionRef

TRACK_S = 5.0  # a mount answers within two, even when it must first tell versions apart
ASKED_AT_ONCE = 8


@dataclass(slots=True)
class Observed:
    """What mounts noted of a run so far.

    `unknown` counts opened files whose version is not known; `silent` are mount points of the registry that gave no answer.
    """

    used: set[VersionRef] = field(default_factory=set)
    logged: set[VersionRef] = field(default_factory=set)
    unknown: int = 0
    silent: list[str] = field(default_factory=list)

    def add(self, told: RunTold) -> None:
        self.used.update(told.used)
        self.logged.update(told.logged)
        self.unknown += told.unknown


def observe(records: MountRecords, running: RunningRun, registry: str, timeout_s: float = TRACK_S) -> Observed:
    """Ask every mount; those of other registries have nothing to tell. Those that did not yet, attend to the run from now on.

    Args:
        registry: what the run's registry is called in the records of mounts.
    """
    mounts = records.list()
    observed = Observed()
    with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:
        answers = list(threads.map(lambda mount: _answer(mount, running, timeout_s), mounts))
    for mount, answer in zip(mounts, answers, strict=True):
        if answer is not None:
            observed.add(answer)
        elif mount.is_alive and mount.registry == registry:
            observed.silent.append(mount.mountpoint)
    for told in records.runs.left(running):  # by mounts that ended, also by one that was just asked
        observed.add(told)
    return observed


def _answer(mount: MountRecord, running: RunningRun, timeout_s: float) -> RunTold | None:
    try:
        return msgspec.convert(ask(mount, "track", timeout_s, run=str(running.run)), RunTold)
    except (Unavailable, msgspec.ValidationError):
        return None
