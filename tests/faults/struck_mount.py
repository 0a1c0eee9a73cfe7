"""Mounts, by `artfs mount`, that faults are commanded into while they run, and what is in the registry to be read there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from artfs.errors import Unavailable
from artfs.fuse import control
from artfs.fuse.mount_records import MountRecord, MountRecords
from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.user import User, wait_until
from tests.contract.uploading import commit, content_of
from tests.faults.drafting import PROPER, Files, Program
from tests.faults.injecting import Commanded

ASK_S = 0.5
PROGRAM_S = 60.0  # for all that a program does while something fails
WORK = "p/work"
LARGE_BYTES = 64 << 10  # files over it are in chunks


def some_files(seed: int) -> Files:
    """What a version holds: two small files, and one that is more than one chunk."""
    choose = random.Random(seed)
    return {"a": choose.randbytes(5_000), "b": choose.randbytes(9_000), "large": choose.randbytes(300_000)}


def put_files(registry_dir: Path, seeds: Iterable[int]) -> None:
    """A version of `some_files` in an artifact of its own for each seed, so that there is always one that nobody read."""
    with closing(EmbeddedRegistry(registry_dir)) as registry:
        registry.projects.create("p", exist_ok=True)
        registry.artifacts.create("p", WORK.partition("/")[2], exist_ok=True)
        for seed in seeds:
            commit(registry, "p", f"c{seed}", content_of(some_files(seed), large_bytes=LARGE_BYTES))


@dataclass(frozen=True)
class Struck:
    """A mount that faults are commanded into."""

    path: Path
    record: MountRecord
    commanded: Commanded

    @property
    def pid(self) -> int:
        return self.record.pid

    def program(self, failure: int) -> Program:
        """One that may be told of this failure."""
        return Program(self.path / WORK, PROPER[failure])

    def version(self, seed: int) -> Path:
        return self.path / f"p/c{seed}/v0"

    def ask(self) -> None:
        """What `artfs status` does, for the mount to have one more thing to fail at."""
        with suppress(Unavailable):
            control.ask(self.record, "status", timeout_s=ASK_S)

    def assert_lives(self) -> None:
        assert Path(f"/proc/{self.pid}").exists(), (
            f"the mount's process has ended: {Path(self.record.log).read_text()[-3000:]}"
        )
        assert os.path.ismount(self.path), "nothing is mounted"

    @contextmanager
    def bounded(self, what: str, timeout_s: float = PROGRAM_S) -> Iterator[None]:
        """Nothing takes longer: else the mount is killed, which frees whoever waits for it, and the test fails."""
        late = threading.Event()

        def end() -> None:
            late.set()
            os.kill(self.pid, signal.SIGKILL)

        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            assert not late.is_set(), f"{what}: not within {timeout_s} s"


@contextmanager
def struck_mount(user: User, root: Path, place: Path, *options: str) -> Iterator[Struck]:
    """A mount of the user's, whose calls on files below `root` can be made to fail; gone afterwards.

    Args:
        place: a directory of its own, for what is commanded.
    """
    commanded = Commanded(root, place)
    path = user.home / "artfs"
    user.run("mount", path, *options, code=0, **commanded.environment())
    state = user.home / ".local/state/artfs"
    record = MountRecords(state, state / "run").find(path)
    assert record is not None
    try:
        yield Struck(path, record, commanded)
    finally:
        commanded.heal()
        user.run("umount", path, code=None)
        if os.path.ismount(path):
            subprocess.run(["fusermount3", "-uz", path], check=False, timeout=30)
        wait_until(lambda: not record.is_alive, "the mount's process has ended", PROGRAM_S)
