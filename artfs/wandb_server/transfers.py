"""Signed URLs: whoever has one reads or writes what it names. Bodies stream, and are checked before they are believed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from hashlib import md5
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from artfs.client.files import FileReader
from artfs.errors import DraftNotFound, InvalidValue, PathNotFound
from artfs.model.chunking import WHOLE_FILE_BYTES_MAX
from artfs.model.lineage import VersionRef
from artfs.server.body_files import receive_file, remove_file
from artfs.server.ranges import etag_of, ranged
from artfs.server.service import Service
from artfs.wandb_server.committing import add_file
from artfs.wandb_server.downloads import (
    ReadFile,
    ReadManifest,
    ReadRunFile,
    WriteFile,
    WriteManifest,
    WriteRunFile,
)
from artfs.wandb_server.manifests import Births, encode_manifest
from artfs.wandb_server.run_files import RunFiles
from artfs.wandb_server.service import WandbService
from artfs.wire.wandb_manifests import MANIFEST_BYTES_MAX

FILE_BYTES_MAX = 1 << 41
_READ: dict[str, type[msgspec.Struct]] = {"content": ReadFile, "manifest": ReadManifest, "run": ReadRunFile}
_WRITE: dict[str, type[msgspec.Struct]] = {"content": WriteFile, "manifest": WriteManifest, "run": WriteRunFile}


def _allowed(wandb: WandbService, request: Request, kinds: dict[str, type[msgspec.Struct]]) -> msgspec.Struct:
    """What the URL allows. Raises AccessDenied, PathNotFound."""
    kind = kinds.get(request.path_params["what"])
    if kind is None:
        raise PathNotFound("there is no such file")
    return wandb.signer.read(kind, request.query_params.get("p", ""), request.query_params.get("s", ""))


async def get_signed(service: Service, wandb: WandbService, request: Request) -> Response:
    allowed = _allowed(wandb, request, _READ)
    if isinstance(allowed, ReadRunFile):
        path = await service.run(_run_files(wandb).find, allowed.project, allowed.run, allowed.name)
        return FileResponse(path, media_type="application/octet-stream")
    if isinstance(allowed, ReadManifest):
        return Response(await service.run(_manifest, wandb, allowed), media_type="application/json")
    assert isinstance(allowed, ReadFile)
    reader, content = FileReader(wandb.client.objects, allowed.project), allowed.content

    async def read(offset: int, length: int) -> bytes:
        return await service.run(reader.read, content, offset, length)

    return await ranged(request, allowed.size_bytes, etag_of(content.digest.hex()), read)


def _manifest(wandb: WandbService, allowed: ReadManifest) -> bytes:
    ref = VersionRef.parse(allowed.version)
    version = wandb.registry.versions.resolve(ref.project, ref.artifact, f"v{ref.number}")
    files = wandb.contents.files(wandb.registry.projects.get(ref.project), version.root)
    return encode_manifest(files, Births(wandb.registry.versions.list(ref.project, ref.artifact)))


async def put_signed(service: Service, wandb: WandbService, request: Request) -> Response:
    allowed = _allowed(wandb, request, _WRITE)
    if isinstance(allowed, WriteRunFile):
        place = wandb.directory / "run-files" / f".{os.urandom(8).hex()}"
        await _receive(service, request, place, FILE_BYTES_MAX, "")
        take = partial(_run_files(wandb).take, allowed.project, allowed.run, allowed.name, place)
        await _taken(service, place, take)
    elif isinstance(allowed, WriteManifest):
        row = await service.run(wandb.uploads.manifest, allowed.manifest)
        place = _place(wandb, row.upload)
        await _receive(service, request, place, MANIFEST_BYTES_MAX, allowed.md5)
        await _taken(service, place, partial(wandb.uploads.receive_manifest, allowed.manifest, place))
    else:
        assert isinstance(allowed, WriteFile)
        place = _place(wandb, allowed.upload)
        size_bytes = await _receive(service, request, place, FILE_BYTES_MAX, allowed.md5)
        if size_bytes > WHOLE_FILE_BYTES_MAX:
            await _taken_large(service, wandb, allowed, place)
        else:
            await service.run(place.replace, place.with_name(allowed.md5))
    return Response(status_code=200)


async def _taken(service: Service, place: Path, take: Callable[[], None]) -> None:
    try:
        await service.run(take)
    finally:
        await service.run(remove_file, place)


async def _taken_large(service: Service, wandb: WandbService, allowed: WriteFile, place: Path) -> None:
    try:
        await service.run_upload(_store_large, wandb, allowed, place)
    finally:
        await service.run(remove_file, place)


def _store_large(wandb: WandbService, allowed: WriteFile, place: Path) -> None:
    """Cut and store it now: a commit that did it would take longer than the client waits. It is held for a day."""
    session = wandb.session(wandb.registry, allowed.project)
    try:
        content = add_file(session, place, allowed.md5)
        session.flush()
    finally:
        session.close()
    wandb.contents.note(wandb.registry.projects.get(allowed.project), [(content, allowed.md5)])


def _place(wandb: WandbService, upload: str) -> Path:
    directory = wandb.uploads.place(upload)
    if not directory.is_dir():
        raise DraftNotFound("this artifact was committed, or its upload expired", hint="log it again")
    return directory / f"part-{os.urandom(8).hex()}"


async def _receive(service: Service, request: Request, path: Path, most: int, expected: str) -> int:
    """A body as a file that is whole, or is not there; its length. `expected` is its MD5, if not empty. Raises InvalidValue."""
    computed = md5(usedforsecurity=False)
    received = await receive_file(service, request, path, most, computed.update)
    if expected and computed.hexdigest() != expected:
        remove_file(path)
        raise InvalidValue("the body is not what its MD5 says", hint="send it again")
    return received


def _run_files(wandb: WandbService) -> RunFiles:
    return RunFiles(wandb.directory / "run-files")
