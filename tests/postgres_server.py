"""A PostgreSQL server of a test's own, to be stopped, frozen and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVICES = Path(__file__).parents[1] / "scripts" / "services"
WAIT_S = 60


class PostgresServer:
    """Runs as soon as it is made."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.start()
        (line,) = (directory / "env").read_text().splitlines()
        self.url = line.partition("=")[2]

    def start(self) -> None:
        self._run("start")

    def stop(self) -> None:
        self._run("stop")

    def freeze(self) -> None:
        """All its processes stand still: it takes connections, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        postmaster = int((self._directory / "postgres/data/postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, children)):
            os.kill(pid, which)

    def _run(self, verb: str) -> None:
        subprocess.run([SERVICES, verb, self._directory, "postgres"], check=True, timeout=WAIT_S)


@contextmanager
def own_postgres() -> Iterator[PostgresServer]:
    directory = Path(tempfile.mkdtemp(prefix="artfs-postgres-"))  # pytest's own is closed to the user postgres
    server = None
    try:
        server = PostgresServer(directory)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)
