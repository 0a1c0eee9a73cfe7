"""The first read of a large file in one round trip: its recipe, and the chunks that hold what is read."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from artfs.errors import ObjectMissing, PathNotFound
from artfs.model.digest import DIGEST_BYTES, Digest
from artfs.registry.objects import StoredObject
from artfs.server.object_routes import parse_id, public_location
from artfs.server.routes import Call, Operation, Parameter
from artfs.server.service import Service
from artfs.wire import json
from artfs.wire.http import BEGINNING_LENGTH_BYTES, Beginning, Places
from artfs.wire.integrity import CONTENT_DIGEST, content_digest

READ_ATTEMPTS = 3
LENGTH_DEFAULT = 1


async def get_recipe(service: Service, request: Request, call: Call) -> Response:
    digest = Digest(parse_id(call.path["digest"], DIGEST_BYTES))
    body = await service.run(_beginning, service, call, digest)
    return Response(body, headers={CONTENT_DIGEST: content_digest(body)}, media_type="application/octet-stream")


def _beginning(service: Service, call: Call, recipe: Digest) -> bytes:
    project = call.path["project"]
    found = _read(service, call, project, recipe)
    places = Places.of([public_location(project, one.location) for one in found])
    head = json.encode(Beginning([str(one.key) for one in found], places))
    return b"".join([len(head).to_bytes(BEGINNING_LENGTH_BYTES, "big"), head, *(one.data for one in found)])


def _read(service: Service, call: Call, project: str, recipe: Digest) -> list[StoredObject]:
    call.registry.guard.require_read(project)
    offset, length = call.number("offset", 0), call.number("length", LENGTH_DEFAULT)
    for _ in range(READ_ATTEMPTS):
        try:
            return service.registry.objects.read_beginning(project, recipe, offset, length)
        except FileNotFoundError:  # a pack was rewritten meanwhile: what it held is somewhere else
            continue
        except ObjectMissing:
            break
    raise PathNotFound(f"there is no recipe {recipe.text} in project {project!r}", hint="was its version deleted?")


OPERATIONS = (
    Operation(
        "GET",
        "/projects/{project}/recipes/{digest}",
        "A large file's recipe, with the chunks of a part of it",
        streamer=get_recipe,
        binary=True,
        query=(
            Parameter("offset", "where in the file the part begins; 0 if not given"),
            Parameter("length", f"bytes of the part; {LENGTH_DEFAULT} if not given"),
        ),
    ),
)
