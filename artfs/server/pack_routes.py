"""Packs of a project, as they are stored: sent from here, by nginx in front, or from the bucket they are in."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from artfs.errors import PathNotFound
from artfs.server.file_parts import FileResponse
from artfs.server.object_routes import parse_id
from artfs.server.ranges import IMMUTABLE, etag_of, ranged
from artfs.server.routes import Call, Operation
from artfs.server.service import Service
from artfs.store.pack_bytes import LocalPackBytes
from artfs.store.packs import ID_BYTES, PackName


async def get_pack(service: Service, request: Request, call: Call) -> Response:
    project, pack_id = call.path["project"], parse_id(call.path["pack"], ID_BYTES)
    name = await service.run(_name, service, call, project, pack_id)
    store = service.registry.resources.store
    url = store.url(name)
    if url.startswith(("http://", "https://")):
        return RedirectResponse(url, 307)
    etag = etag_of(pack_id.hex())
    try:
        return await _answer(service, request, name, etag)
    except FileNotFoundError:
        raise PathNotFound(f"there is no pack {pack_id.hex()}", hint="locate its objects again") from None


async def _answer(service: Service, request: Request, name: PackName, etag: str) -> Response:
    store = service.registry.resources.store

    async def part(offset: int, length: int) -> bytes:
        return await service.run(store.read, name, offset, length)

    if not store.url(name).startswith("file:"):
        return await ranged(request, await service.run(store.size_bytes, name), etag, part)
    if service.settings.accel_prefix:
        await service.run(store.size_bytes, name)  # that it is there
        path = store.internal_path(name)
        return Response(
            headers={
                "X-Accel-Redirect": f"{service.settings.accel_prefix.rstrip('/')}/{path}",
                "ETag": etag,
                "Cache-Control": IMMUTABLE,
            },
            media_type="application/octet-stream",
        )
    pack = await service.run(store.open, name)
    response: Response | None = None
    try:
        file = pack if isinstance(pack, LocalPackBytes) else None
        response = await ranged(request, pack.size_bytes, etag, part, file)
        return response
    finally:
        if not isinstance(response, FileResponse):
            pack.close()


def _name(service: Service, call: Call, project: str, pack_id: bytes) -> PackName:
    """The pack's name in the store: ids lead nowhere outside the project."""
    call.registry.guard.require_read(project)
    return PackName(service.registry.projects.get(project).uid, pack_id)


OPERATIONS = tuple(
    Operation(method, "/projects/{project}/packs/{pack}", summary, streamer=get_pack, binary=True)
    for method, summary in (("GET", "Bytes of a pack"), ("HEAD", "Length and ETag of a pack"))
)
