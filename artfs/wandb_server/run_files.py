"""Files of runs: what a client keeps of a run besides its values, such as its output and saved code."""

from __future__ import annotations

import base64
import shutil
from hashlib import file_digest, md5
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from artfs.errors import InvalidName, PathNotFound
from artfs.model.names import FILE_NAME_BYTES_MAX, check_name
from artfs.store.durable import DIRECTORY_MODE, reported


class RunFile(NamedTuple):
    name: str
    size_bytes: int
    changed_at_ns: int
    md5: str  # base64


class RunFiles:
    """One directory for each run, in it one file for each name, which may have slashes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self, project: str, run: str) -> list[RunFile]:
        """By name."""
        directory = self._directory(project, run)
        if not directory.is_dir():
            return []
        return sorted(_described(path) for path in directory.iterdir())

    def find(self, project: str, run: str, name: str) -> Path:
        """Raises PathNotFound."""
        path = self._directory(project, run) / _file_name(name)
        if not path.is_file():
            raise PathNotFound(f"the run {project}/{run} has no file {name!r}")
        return path

    def take(self, project: str, run: str, name: str, file: Path) -> None:
        """Take over a file that arrived whole; one of that name is replaced. Raises InvalidName."""
        path = self._directory(project, run) / _file_name(name)
        with reported("store", path):
            path.parent.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            file.replace(path)

    def remove(self, project: str, run: str, name: str | None = None) -> None:
        """One file of a run, or all."""
        if name is None:
            shutil.rmtree(self._directory(project, run), ignore_errors=True)
        else:
            (self._directory(project, run) / _file_name(name)).unlink(missing_ok=True)

    def _directory(self, project: str, run: str) -> Path:
        return self._root / check_name("project", project) / check_name("run", run)


def _file_name(name: str) -> str:
    found = quote(name, safe="")
    if not found or len(found) > FILE_NAME_BYTES_MAX:
        raise InvalidName(f"{name[:100]!r} cannot name a file of a run", hint="use a shorter name")
    return found.replace(".", "%2E") if found.strip(".") == "" else found


def _described(path: Path) -> RunFile:
    status = path.stat()
    with path.open("rb") as file:
        digest = file_digest(file, lambda: md5(usedforsecurity=False)).digest()
    return RunFile(unquote(path.name), status.st_size, status.st_mtime_ns, base64.b64encode(digest).decode())
