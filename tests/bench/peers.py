"""The file systems that artfs is raced against: how each is found, which version it is, and how it mounts a directory.

Each `*_mount` is a context that yields where the files are; nothing of it is left afterwards. Options are those that favour the
peer in this benchmark, since what is mounted never changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import requests

from tests.acceptance.team import end_process, free_port
from tests.bench.measure import ROOT, CheckFailed, run

START_S = 60.0
STOP_S = 30.0
MISSING = "missing (scripts/setup --bench installs it)"


@dataclass(frozen=True)
class Tool:
    """A program that belongs to a peer."""

    name: str
    version_arguments: tuple[str, ...]

    @property
    def path(self) -> str | None:
        beside = Path(sys.executable).with_name(self.name)
        return str(beside) if beside.exists() else shutil.which(self.name)

    @property
    def command(self) -> str:
        if self.path is None:
            raise CheckFailed(f"{self.name} is {MISSING}")
        return self.path

    def version(self) -> str:
        if self.path is None:
            return MISSING
        done = subprocess.run(
            [self.path, *self.version_arguments], capture_output=True, text=True, timeout=60, check=False
        )
        found = re.search(r"\d+(\.\d+)+\S*", done.stdout + done.stderr)
        return found[0] if found else "of unknown version"


BINDFS = Tool("bindfs", ("--version",))
RCLONE = Tool("rclone", ("version",))
JUICEFS = Tool("juicefs", ("version",))
RESTIC = Tool("restic", ("version",))
BORG = Tool("borg", ("--version",))
DVC = Tool("dvc", ("--version",))
CURL = Tool("curl", ("--version",))
TOOLS = (BINDFS, RCLONE, JUICEFS, RESTIC, BORG, DVC, CURL)


def versions() -> dict[str, str]:
    """What every contestant is, or that it is missing."""
    found = {tool.name: tool.version() for tool in TOOLS}
    found["pyfuse3"] = metadata.version("pyfuse3")
    try:
        found["torch"] = metadata.version("torch")
    except metadata.PackageNotFoundError:
        found["torch"] = (
            "missing (its wheel needs gigabytes of CUDA); a loader of worker processes stands in for DataLoader"
        )
    return found


@contextmanager
def native_mount(source: Path, _place: Path) -> Iterator[Path]:
    """No file system of anybody: the directory itself."""
    yield source


@contextmanager
def bare_mount(source: Path, place: Path) -> Iterator[Path]:
    mountpoint = _made(place / "bare")
    with serving([sys.executable, "-m", "tests.bench.bare_fuse", str(source), str(mountpoint)], mountpoint, place):
        yield mountpoint


@contextmanager
def bindfs_mount(source: Path, place: Path) -> Iterator[Path]:
    mountpoint = _made(place / "bindfs")
    with serving([BINDFS.command, "-f", "-r", str(source), str(mountpoint)], mountpoint, place):
        yield mountpoint


@contextmanager
def rclone_mount(source: Path, place: Path) -> Iterator[Path]:
    """Of a local directory, with rclone's own cache of file contents."""
    with _rclone(str(source), place) as mountpoint:
        yield mountpoint


@contextmanager
def rclone_far_mount(url: str, place: Path) -> Iterator[Path]:
    """Of what `files_served` serves, seen through a proxy at `url`."""
    with _rclone(":http:", place, "--http-url", url) as mountpoint:
        yield mountpoint


@contextmanager
def _rclone(remote: str, place: Path, *options: str) -> Iterator[Path]:
    mountpoint = _made(place / "rclone")
    cached = ["--vfs-cache-mode", "full", "--cache-dir", str(place / "rclone-cache")]
    lasting = ["--dir-cache-time", "1000h", "--attr-timeout", "1000h", "--poll-interval", "0"]
    command = [RCLONE.command, "mount", remote, str(mountpoint), "--read-only", *cached, *lasting, *options]
    with serving(command, mountpoint, place):
        yield mountpoint


@contextmanager
def files_served(source: Path, place: Path, how: str = "http") -> Iterator[str]:
    """`source` over HTTP or WebDAV, by rclone; yields the address."""
    port = free_port()
    writable = [] if how == "webdav" else ["--read-only"]
    command = [RCLONE.command, "serve", how, str(source), "--addr", f"127.0.0.1:{port}", *writable]
    url = f"http://127.0.0.1:{port}"
    with _process(command, place / f"rclone-{how}.log") as process:
        _wait(lambda: _answers(url), process, f"rclone serve {how}")
        yield url


@dataclass(frozen=True)
class Volume:
    """A JuiceFS volume: metadata in SQLite, objects in a directory or behind WebDAV."""

    database: Path

    @property
    def meta(self) -> str:
        return f"sqlite3://{self.database}"

    @contextmanager
    def mounted(self, place: Path, *options: str) -> Iterator[Path]:
        mountpoint = _made(place / "juicefs")
        quiet = ["--no-usage-report", "--no-bgjob", "--log", str(place / "juicefs.log")]
        lasting = ["--attr-cache", "3600", "--entry-cache", "3600", "--dir-entry-cache", "3600"]
        cache = ["--cache-dir", str(place / "juicefs-cache")]
        command = [JUICEFS.command, "mount", *quiet, *lasting, *cache, *options, self.meta, str(mountpoint)]
        with serving(command, mountpoint, place):
            yield mountpoint


def juicefs_volume(place: Path, storage: str, bucket: str) -> Volume:
    volume = Volume(_made(place) / "juicefs.db")
    run(JUICEFS.command, "format", volume.meta, "bench", "--storage", storage, "--bucket", bucket, "--trash-days", "0")
    return volume


@contextmanager
def juicefs_mount(source: Path, place: Path) -> Iterator[Path]:
    """A volume in a local directory that holds a copy of `source`."""
    volume = juicefs_volume(place, "file", f"{_made(place / 'juicefs-objects')}/")
    with volume.mounted(place) as mountpoint:
        run("cp", "-r", source, mountpoint / "data")
        yield mountpoint / "data"


@contextmanager
def serving(command: list[str], mountpoint: Path, place: Path) -> Iterator[int]:
    """A process that serves a mount in the foreground; yields its id."""
    log = place / f"{mountpoint.name}.log"
    with _process(command, log) as process:
        try:
            _wait(lambda: mountpoint.is_mount(), process, f"{command[0]} (its log is {log})")
            yield process.pid
        finally:
            lazily = ["fusermount3", "-uz", str(mountpoint)]
            if subprocess.run(
                ["fusermount3", "-u", str(mountpoint)], capture_output=True, timeout=60, check=False
            ).returncode:
                subprocess.run(lazily, capture_output=True, timeout=60, check=False)


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "HOME": str(log.parent), "PYTHONPATH": str(ROOT)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=ROOT
        )
    try:
        yield process
    finally:
        end_process(process)


def _wait(condition: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise CheckFailed(f"{what} did not start")
        time.sleep(0.02)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/", timeout=2).status_code < 500
    except requests.RequestException:
        return False


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory
