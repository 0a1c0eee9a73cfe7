"""The command line as a user has it: a process of its own for every command, a home directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ARTFS = Path(sys.executable).with_name("artfs")
COMMAND_TIMEOUT_S = 600


@dataclass(frozen=True)
class User:
    """Somebody with a home directory and a registry in it."""

    home: Path

    @property
    def registry(self) -> Path:
        return self.home / ".local/share/artfs/registry"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "HOME": str(self.home), "COLUMNS": "100", **more}

    def start(self, *arguments: str | Path, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [ARTFS, *map(str, arguments)],
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, code: int | None = 0, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one command; fails the test unless it exits with `code` (None: any)."""
        done = subprocess.run(
            [ARTFS, *map(str, arguments)],
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        if code is not None and done.returncode != code:
            pytest.fail(
                f"artfs {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    @contextmanager
    def mounted(self, name: str = "artfs", *options: str) -> Iterator[Path]:
        """A mount in the background, gone afterwards whatever happened."""
        place = self.home / name
        self.run("mount", place, *options)
        try:
            yield place
        finally:
            self.run("umount", place, code=None)
            if os.path.ismount(place):
                subprocess.run(["fusermount3", "-uz", place], check=False, timeout=30)

    def stored_bytes(self) -> int:
        """What `du` says of the registry's packs, apparent sizes."""
        return sum(f.stat().st_size for f in (self.registry / "packs").rglob("*") if f.is_file())


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 10) -> None:
    """Wait for `condition`, failing the test with `what` when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s in vain until {what}")
        time.sleep(0.02)
