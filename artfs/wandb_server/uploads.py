"""Artifacts on their way: from what a client announces, over the files that it sends, to a version.

Small files wait in a directory of the upload and go into packs together when it is committed; large ones are cut and stored as
they arrive. An upload that is never committed is removed after a while, like the registry's drafts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from artfs.errors import DraftNotFound, InvalidValue
from artfs.model.access import Operation
from artfs.model.lineage import VersionRef
from artfs.registry.guarded import GuardedRegistry
from artfs.store.durable import DIRECTORY_MODE, FILE_MODE, reported
from artfs.wandb_server.manifests import merge
from artfs.wandb_server.state import State
from artfs.wire.wandb_manifests import ManifestEntry, decode_manifest

UPLOAD_LIFE_S = 7 * 24 * 3600
FULL, PATCH, INCREMENTAL = "FULL", "PATCH", "INCREMENTAL"


class Request(msgspec.Struct, frozen=True):
    """What the version is to be."""

    type: str
    digest: str = ""
    description: str | None = None
    metadata: dict[str, Any] | None = None
    aliases: list[str] = []
    tags: list[str] = []
    ttl_s: int | None = None


class Upload(msgspec.Struct, frozen=True):
    """An artifact that a client writes. `number` is that of the version that it has become."""

    id: str
    project: str
    artifact: str
    request: Request
    slot: str = ""
    client_id: str = ""
    number: int | None = None

    @property
    def version(self) -> VersionRef | None:
        return None if self.number is None else VersionRef(self.project, self.artifact, self.number)


class ManifestRow(msgspec.Struct, frozen=True):
    """A manifest that a client announced. `received` once it was sent."""

    id: int
    upload: str
    kind: str
    base: str
    md5: str
    received: bool


class Uploads:
    """All uploads of this machine, and the directory with their files."""

    def __init__(self, state: State, directory: Path) -> None:
        self._state = state
        self._directory = directory

    def begin(self, new: Upload, run: str) -> Upload:
        """Note an upload; of several with one slot, all get the first one. `run` is noted as a writer of it."""
        with self._state.write() as tx:
            found = new
            if new.slot:
                sql = f"{_UPLOAD} WHERE project = ? AND artifact = ? AND slot = ? AND number IS NULL"
                rows = tx.rows(sql, (new.project, new.artifact, new.slot))
                found = _upload(rows[0]) if rows else new
            if found is new:
                encoded = msgspec.json.encode(new.request)
                row = (new.id, new.project, new.artifact, encoded, new.slot, new.client_id, None, time.time_ns())
                tx.run("INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            if run:
                tx.run("INSERT OR IGNORE INTO upload_runs VALUES (?, ?)", (found.id, run))
        if found.slot and new.request.aliases:
            found = self._add_aliases(found, new.request.aliases)
        with reported("make", self.place(found.id)):
            self.place(found.id).mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        return found

    def find(self, registry: GuardedRegistry, upload: str) -> Upload:
        """The upload, if the caller may write to its project. Raises DraftNotFound, ProjectNotFound, AccessDenied."""
        rows = self._state.rows(f"{_UPLOAD} WHERE id = ?", (upload,))
        if not rows:
            raise DraftNotFound("there is no such upload: it expired", hint="log the artifact again")
        found = _upload(rows[0])
        registry.guard.require(Operation.WRITE, found.project)
        return found

    def version(self, upload: str) -> VersionRef | None:
        """What it has become, for anybody."""
        rows = self._state.rows(f"{_UPLOAD} WHERE id = ?", (upload,))
        return _upload(rows[0]).version if rows else None

    def by_client_id(self, client_id: str) -> Upload | None:
        rows = self._state.rows(f"{_UPLOAD} WHERE client_id = ? AND client_id <> ''", (client_id,))
        return _upload(rows[-1]) if rows else None

    def runs(self, upload: Upload) -> list[str]:
        """The runs that write it, as `project/id`."""
        return [str(run) for (run,) in self._state.rows(_RUNS, (upload.id,))]

    def add_manifest(self, upload: Upload, kind: str, base: str, md5: str) -> int:
        """Announce a manifest; the id of an equal one that was announced before."""
        if kind not in (FULL, PATCH, INCREMENTAL):
            raise InvalidValue(f"there are no manifests of the kind {kind!r}")
        with self._state.write() as tx:
            if kind != PATCH:
                rows = tx.rows("SELECT id FROM manifests WHERE upload = ? AND kind = ?", (upload.id, kind))
                if rows:
                    tx.run("UPDATE manifests SET md5 = ?, received = 0 WHERE id = ?", (md5, rows[0][0]))
                    return int(rows[0][0])
            sql = "INSERT INTO manifests (upload, kind, base, md5, received) VALUES (?, ?, ?, ?, 0) RETURNING id"
            return int(tx.rows(sql, (upload.id, kind, base, md5))[0][0])

    def manifest(self, manifest: int) -> ManifestRow:
        rows = self._state.rows(f"{_MANIFEST} WHERE id = ?", (manifest,))
        if not rows:
            raise DraftNotFound("there is no such manifest", hint="log the artifact again")
        return ManifestRow(*rows[0])

    def receive_manifest(self, manifest: int, data: Path) -> None:
        """Take over a manifest that arrived whole."""
        row = self.manifest(manifest)
        decode_manifest(data.read_bytes())  # what is wrong with it is said at once
        with reported("store", data):
            data.replace(self.place(row.upload) / f"manifest-{manifest}")
        with self._state.write() as tx:
            tx.run("UPDATE manifests SET received = 1 WHERE id = ?", (manifest,))

    def contents(self, upload: Upload) -> tuple[dict[str, ManifestEntry], str]:
        """What was sent for all paths, and the id of the artifact that it adds to, empty for none. Raises InvalidValue."""
        rows = [
            ManifestRow(*row) for row in self._state.rows(f"{_MANIFEST} WHERE upload = ? ORDER BY id", (upload.id,))
        ]
        there = [row for row in rows if row.received]
        if not there:
            raise InvalidValue("no manifest was sent", hint="log the artifact again")
        bases = [row.base for row in there if row.base and row.kind == INCREMENTAL]
        return merge(decode_manifest(self._manifest_file(row).read_bytes()).contents for row in there), bases[
            -1
        ] if bases else ""

    def finish(self, upload: Upload, number: int) -> None:
        """The upload has become that version; its files are of no use any more."""
        with self._state.write() as tx:
            tx.run("UPDATE uploads SET number = ? WHERE id = ?", (number, upload.id))
            tx.run("DELETE FROM manifests WHERE upload = ?", (upload.id,))
            tx.run("DELETE FROM upload_runs WHERE upload = ?", (upload.id,))
        shutil.rmtree(self.place(upload.id), ignore_errors=True)

    def clean(self, now_s: float) -> None:
        """Forget what was begun long ago and never committed."""
        with self._state.write() as tx:
            before_ns = int((now_s - UPLOAD_LIFE_S) * 10**9)
            tx.run("DELETE FROM uploads WHERE number IS NULL AND created_at < ?", (before_ns,))
            for table in ("manifests", "upload_runs"):
                tx.run(f"DELETE FROM {table} WHERE upload NOT IN (SELECT id FROM uploads)")
        for path in self._directory.iterdir():
            with suppress(OSError):
                if now_s - path.stat().st_mtime > UPLOAD_LIFE_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def place(self, upload: str) -> Path:
        """Where its files are."""
        return self._directory / upload

    def _manifest_file(self, row: ManifestRow) -> Path:
        return self.place(row.upload) / f"manifest-{row.id}"

    def _add_aliases(self, upload: Upload, aliases: Sequence[str]) -> Upload:
        merged = list(dict.fromkeys((*upload.request.aliases, *aliases)))
        changed = msgspec.structs.replace(upload, request=msgspec.structs.replace(upload.request, aliases=merged))
        with self._state.write() as tx:
            sql = "UPDATE uploads SET request = ? WHERE id = ?"
            tx.run(sql, (msgspec.json.encode(changed.request), upload.id))
        return changed


_UPLOAD = "SELECT id, project, artifact, request, slot, client_id, number FROM uploads"
_MANIFEST = "SELECT id, upload, kind, base, md5, received FROM manifests"
_RUNS = "SELECT run FROM upload_runs WHERE upload = ? ORDER BY run"


def _upload(row: tuple[Any, ...]) -> Upload:
    id_, project, artifact, request, slot, client_id, number = row
    return Upload(id_, project, artifact, msgspec.json.decode(request, type=Request), slot, client_id, number)


@contextmanager
def committing(place: Path) -> Iterator[None]:
    """One process and thread at a time commits an upload: clients that lost patience ask again meanwhile."""
    with reported("lock", place):
        fd = os.open(place.with_name(f"{place.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
