"""Where objects are, uploads, and tree pages."""

from __future__ import annotations

from pathlib import Path

from anyio import CancelScope
from starlette.requests import Request
from starlette.responses import Response

from artfs.errors import DamagedPack, InvalidValue, ObjectMissing, PathNotFound, TooLarge, UsageError
from artfs.model.digest import DIGEST_BYTES, Digest, ObjectKey, ObjectKind
from artfs.model.pack import HEADER_BYTES, decode_header
from artfs.model.tree import decode_page
from artfs.server.bodies import declared_bytes
from artfs.server.body_files import receive_file
from artfs.server.ranges import etag_of, ranged
from artfs.server.routes import Call, Operation
from artfs.server.service import Service
from artfs.store.owned import OwnedPart
from artfs.store.packs import ID_BYTES
from artfs.wire.http import Keys, Pages, Places, SentPage
from artfs.wire.records import DraftRecord, Location, SealRequest, SealResult
from artfs.wire.service import KEYS_MAX

READ_ATTEMPTS = 3
PAGES_MAX = 256  # tree pages in one answer
PAGES_BYTES_MAX = 512 << 10  # of all but the first
DRAFT = "/drafts/{draft}"
TREE = "/projects/{project}/trees/{digest}"


def _keys(call: Call) -> list[ObjectKey]:
    keys: Keys = call.body
    if len(keys.keys) > KEYS_MAX:
        raise TooLarge(f"{len(keys.keys)} keys at once", hint=f"ask for at most {KEYS_MAX}")
    return keys.parsed()


def locate(call: Call) -> Places:
    project = call.path["project"]
    locations = call.registry.objects.locate(project, _keys(call))
    return Places.of([None if one is None else public_location(project, one) for one in locations])


def public_location(project: str, location: Location) -> Location:
    """A place as a client reaches it: a store of this machine's is reached through this server."""
    if location.url.startswith(("http://", "https://")):
        return location
    pack = location.url.rpartition("/")[2].removesuffix(".pack")
    return Location(
        location.size_bytes,
        location.codec,
        f"/v1/projects/{project}/packs/{pack}",
        location.offset,
        location.stored_bytes,
        location.created_at_ns,
        location.times,
    )


def open_draft(call: Call) -> DraftRecord:
    return call.registry.drafts.open(call.path["project"])


def renew_draft(call: Call) -> DraftRecord:
    return call.registry.drafts.renew(call.path["draft"])


def missing(call: Call) -> Keys:
    return Keys.of(call.registry.drafts.missing(call.path["draft"], _keys(call)))


def seal(call: Call) -> SealResult:
    return call.registry.drafts.seal(call.path["draft"], call.body)


def abandon(call: Call) -> None:
    call.registry.drafts.abandon(call.path["draft"])


async def put_pack(service: Service, request: Request, call: Call) -> Response:
    draft, pack_id = call.path["draft"], parse_id(call.path["pack"], ID_BYTES)
    await service.run(call.registry.guard.require_of_draft, draft)  # before anything is taken in
    declared = declared_bytes(request, service.settings.pack_bytes_max)
    if declared is None:
        raise UsageError("a pack of unknown length", hint="send a Content-Length")
    part = await service.run(OwnedPart, service.registry.spool)
    try:
        path = part.path / f"{pack_id.hex()}.pack"
        await receive_file(service, request, path, declared)
        await service.run_upload(_put, call, draft, path, pack_id)
    finally:
        with CancelScope(shield=True):
            await service.run(part.remove)
    return Response(status_code=204)


def _put(call: Call, draft: str, path: Path, pack_id: bytes) -> None:
    with path.open("rb") as file:
        header = decode_header(file.read(HEADER_BYTES))
    if header.pack_id != pack_id:
        raise DamagedPack(f"the pack says that it is {header.pack_id.hex()}, not {pack_id.hex()}", hint="send it again")
    call.registry.drafts.put_pack(draft, path)


async def get_tree(service: Service, request: Request, call: Call) -> Response:
    project, digest = call.path["project"], Digest(parse_id(call.path["digest"], DIGEST_BYTES))
    data = await service.run(_tree, call, project, digest)

    async def part(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    return await ranged(request, len(data), etag_of(digest.hex()), part)


def _tree(call: Call, project: str, digest: Digest) -> bytes:
    return _page(call, project, ObjectKey(ObjectKind.TREE, digest))


def get_pages(call: Call) -> Pages:
    """A page and those below it, level by level, as far as they are small: what somebody needs who goes down a path."""
    project, digest = call.path["project"], Digest(parse_id(call.path["digest"], DIGEST_BYTES))
    root = ObjectKey(ObjectKind.TREE, digest)
    sent: list[tuple[SentPage, Location]] = []
    left_bytes, level = PAGES_BYTES_MAX, [root]
    while level and len(sent) < PAGES_MAX:
        below: list[ObjectKey] = []
        for key, place in zip(level, call.registry.objects.locate(project, level), strict=True):
            if place is not None and (not sent or place.size_bytes <= left_bytes) and len(sent) < PAGES_MAX:
                data = _page(call, project, key)
                left_bytes -= len(data)
                sent.append((SentPage(bytes(key.digest), data), public_location(project, place)))
                below.extend(child for child in decode_page(data).children() if child.kind is ObjectKind.TREE)
        level = list(dict.fromkeys(below))[:PAGES_MAX]
    if not sent:
        raise PathNotFound(f"there is no {root} in project {project!r}", hint="was its version deleted?")
    return Pages([page for page, _ in sent], Places.of([place for _, place in sent]))


def _page(call: Call, project: str, key: ObjectKey) -> bytes:
    for _ in range(READ_ATTEMPTS):
        try:
            return call.registry.objects.read(project, key)
        except FileNotFoundError:  # its pack was rewritten meanwhile: it is somewhere else
            continue
        except ObjectMissing:
            break
    raise PathNotFound(f"there is no {key} in project {project!r}", hint="was its version deleted?")


def parse_id(text: str, length: int) -> bytes:
    """An id in a path. Raises InvalidValue."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != length or found.hex() != text:
        raise InvalidValue(f"{text!r} is not an id", hint=f"it has {2 * length} hexadecimal digits")
    return found


OPERATIONS = (
    Operation(
        "POST", "/projects/{project}/locate", "Where objects are stored", handler=locate, body=Keys, answer=Places
    ),
    Operation("GET", TREE, "A tree page", streamer=get_tree, binary=True),
    Operation("GET", TREE + "/pages", "A tree page and those below it, some 256 KiB", get_pages, answer=Pages),
    Operation("POST", "/projects/{project}/drafts", "Begin an upload", open_draft, answer=DraftRecord),
    Operation("POST", DRAFT + "/renew", "Keep an upload alive", renew_draft, answer=DraftRecord),
    Operation("POST", DRAFT + "/missing", "Which objects must be sent", missing, body=Keys, answer=Keys),
    Operation("PUT", DRAFT + "/packs/{pack}", "Send a pack", streamer=put_pack, binary=True, status=204),
    Operation("POST", DRAFT + "/seal", "Make a version of an upload", seal, body=SealRequest, answer=SealResult),
    Operation("DELETE", DRAFT, "End an upload", abandon, status=204),
)
