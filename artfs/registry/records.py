"""A copy of the catalog as small JSON files, so that losing the database does not mean losing what versions are.

    records/PROJECT/.project.json           uid, creation time, numbers of artifacts that are gone
    records/PROJECT/ARTIFACT/artifact.json  type, description, aliases, next version number
    records/PROJECT/ARTIFACT/vN.json        one version
    records/.position                       the change up to which the files are right

The files follow the journal of changes: whoever made a change brings them up to it, under a lock file, reading what is true
by then. A process that dies in between leaves that to the next one. Only `repair` reads them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from artfs.errors import ArtfsError
from artfs.model.names import parse_version
from artfs.registry.aliases import aliases_now
from artfs.registry.catalog import Project, peek_artifact, peek_project
from artfs.registry.changes import changes_after
from artfs.registry.database import Database, Row, Transaction
from artfs.registry.versions import all_versions, peek_version
from artfs.store.durable import FILE_MODE, make_private, reported, sync_directory, write_file

PROJECT_FILE = ".project.json"
ARTIFACT_FILE = "artifact.json"
_POSITION = ".position"
_LOCK = ".lock"
_BATCH = 1000

_log = logging.getLogger(__name__)


class SavedProject(msgspec.Struct, frozen=True):
    """`retired`: next version numbers of artifacts that were deleted."""

    name: str
    uid: bytes
    created_at_ns: int
    retired: dict[str, int]


class SavedArtifact(msgspec.Struct, frozen=True):
    name: str
    type: str | None
    description: str
    created_at_ns: int
    next_version: int
    aliases: dict[str, int]


class SavedVersion(msgspec.Struct, frozen=True):
    number: int
    root: bytes
    description: str
    metadata: dict[str, Any]
    created_at_ns: int
    created_by: str
    expires_at_ns: int | None = None


class Records:
    """The files below `root`. Keeps no state of its own."""

    def __init__(self, root: Path, database: Database) -> None:
        self._root = root
        self._database = database

    def follow(self) -> None:
        """Bring the files up to the newest change. A failure is logged: the next change makes up for it."""
        try:
            with self._locked():
                position = saved_position(self._root)
                while changes := self._after(position):
                    self._save({change[1:] for change in changes})
                    position = changes[-1][0]
                    self._set_position(position)
        except (ArtfsError, OSError) as error:
            _log.warning("the copy of the catalog is behind: %s", error)

    def rewrite(self) -> None:
        """Write all files anew, then remove what is not the database's. Raises StorageFull and StorageFailed."""
        with reported("write", self._root), self._locked():
            with self._database.read() as tx:
                touched = {("project", name, "", "") for (name,) in tx.rows("SELECT name FROM projects")}
                for project, artifact, artifact_id in tx.rows(
                    "SELECT p.name, a.name, a.id FROM artifacts a JOIN projects p ON p.id = a.project_id"
                ):
                    touched.add(("artifact", project, artifact, ""))
                    touched |= {("version", project, artifact, f"v{row[0]}") for row in all_versions(tx, artifact_id)}
                row = tx.row("SELECT max(seq) FROM changes")
            self._save(touched)
            self._remove_others({PurePosixPath(*filter(None, change[1:])) for change in touched})
            self._set_position(int(row[0] or 0) if row else 0)

    def _remove_others(self, known: set[PurePosixPath]) -> None:
        """Of projects, artifacts and versions only those in `known`, such as p, p/a and p/a/v0, stay."""
        for project in filter(Path.is_dir, self._root.iterdir()):
            if PurePosixPath(project.name) not in known:
                shutil.rmtree(project)
                continue
            for artifact in filter(Path.is_dir, project.iterdir()):
                if PurePosixPath(project.name, artifact.name) not in known:
                    shutil.rmtree(artifact)
                    continue
                for version in artifact.glob("v*.json"):
                    if PurePosixPath(project.name, artifact.name, version.stem) not in known:
                        version.unlink()

    def _after(self, position: int) -> list[tuple[int, str, str, str, str]]:
        with self._database.read() as tx:
            return [(c.seq, c.kind, c.project, c.artifact, c.name) for c in changes_after(tx, position, _BATCH)]

    def _save(self, touched: set[tuple[str, str, str, str]]) -> None:
        """Write or remove the files of what was touched: pairs of kind and names, parents first."""
        projects = {project for _, project, _, _ in touched}
        artifacts = {(project, artifact) for _, project, artifact, _ in touched if artifact}
        versions = {(p, a, number) for _, p, a, name in touched if (number := parse_version(name)) is not None}
        with self._database.read() as tx:
            for project in sorted(projects):
                self._save_project(tx, project)
            for project, artifact in sorted(artifacts):
                self._save_artifact(tx, project, artifact)
            ids = {pair: _artifact_id(tx, *pair) for pair in artifacts}
            for project, artifact, number in sorted(versions):
                self._save_version(tx, project, artifact, ids[project, artifact], number)

    def _save_project(self, tx: Transaction, name: str) -> None:
        project = peek_project(tx, name)
        directory = self._root / name
        if project is None:
            shutil.rmtree(directory, ignore_errors=True)
            return
        _write(directory / PROJECT_FILE, SavedProject(name, project.uid, project.created_at_ns, _retired(tx, project)))

    def _save_artifact(self, tx: Transaction, project_name: str, name: str) -> None:
        project = peek_project(tx, project_name)
        artifact = None if project is None else peek_artifact(tx, project, name)
        directory = self._root / project_name / name
        if project is None or artifact is None:
            shutil.rmtree(directory, ignore_errors=True)
            return
        saved = SavedArtifact(
            name,
            artifact.type,
            artifact.description,
            artifact.created_at_ns,
            _next_number(tx, project, name),
            aliases_now(tx, artifact.id),
        )
        _write(directory / ARTIFACT_FILE, saved)

    def _save_version(self, tx: Transaction, project: str, artifact: str, artifact_id: int | None, number: int) -> None:
        row = None if artifact_id is None else peek_version(tx, artifact_id, number)
        path = self._root / project / artifact / f"v{number}.json"
        if row is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, _saved_version(row))

    def _set_position(self, position: int) -> None:
        path = self._root / f"{_POSITION}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags, FILE_MODE), "w") as file:
            file.write(f"{position}\n")
        path.replace(self._root / _POSITION)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # held for a few small files at a time, and freed when its holder dies
            yield
        finally:
            os.close(fd)


def saved_position(root: Path) -> int:
    """The change up to which the files below `root` are right."""
    try:
        return int((root / _POSITION).read_text())
    except (FileNotFoundError, ValueError):
        return 0


def read_records(root: Path) -> Iterator[tuple[SavedProject, list[tuple[SavedArtifact, list[SavedVersion]]]]]:
    """All projects with their artifacts and versions, as far as the files are readable."""
    for directory in sorted(path for path in root.iterdir() if path.is_dir()):
        project = _read(directory / PROJECT_FILE, SavedProject)
        if project is None:
            continue
        artifacts = []
        for below in sorted(path for path in directory.iterdir() if path.is_dir()):
            artifact = _read(below / ARTIFACT_FILE, SavedArtifact)
            versions = [_read(path, SavedVersion) for path in below.glob("v*.json")]
            found = sorted((v for v in versions if v is not None), key=lambda version: version.number)
            if artifact is not None:
                artifacts.append((artifact, found))
        yield project, artifacts


_Saved = SavedProject | SavedArtifact | SavedVersion


def _saved_version(row: Row) -> SavedVersion:
    number, root, description, metadata, _, _, created_at_ns, created_by = row[:8]
    return SavedVersion(number, root, description, msgspec.json.decode(metadata), created_at_ns, created_by, row[10])


def _write(path: Path, saved: _Saved) -> None:
    if not path.parent.is_dir():
        make_private(path.parent)
        sync_directory(path.parent.parent)
    data = msgspec.json.format(msgspec.json.encode(saved), indent=2) + b"\n"
    with suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    write_file(path, data)


def _read(path: Path, type_: type[Any]) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (OSError, msgspec.DecodeError, ValueError):
        return None


def _artifact_id(tx: Transaction, project: str, artifact: str) -> int | None:
    row = tx.row(
        "SELECT a.id FROM artifacts a JOIN projects p ON p.id = a.project_id WHERE p.name = ? AND a.name = ?",
        (project, artifact),
    )
    return None if row is None else int(row[0])


def _retired(tx: Transaction, project: Project) -> dict[str, int]:
    rows = tx.rows(
        "SELECT n.artifact, n.next FROM version_numbers n WHERE n.project_id = ? AND NOT EXISTS"
        " (SELECT 1 FROM artifacts a WHERE a.project_id = n.project_id AND a.name = n.artifact)",
        (project.id,),
    )
    return dict(rows)


def _next_number(tx: Transaction, project: Project, artifact: str) -> int:
    row = tx.row("SELECT next FROM version_numbers WHERE project_id = ? AND artifact = ?", (project.id, artifact))
    return int(row[0]) if row else 0
