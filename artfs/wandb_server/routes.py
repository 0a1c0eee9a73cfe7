"""The paths that the `wandb` client asks for: GraphQL, a run's stream, artifacts' files by digest, and signed URLs.

Never answers 500: the client would try again for minutes. A mistake of the client, and a failure of ours that would happen again,
is a 4xx with a sentence; what may pass is a 503.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from artfs.errors import ArtfsError, InvalidValue, NotAuthenticated, PathNotFound
from artfs.model.lineage import RunRef, VersionRef
from artfs.model.names import check_name
from artfs.server import metrics
from artfs.server.bodies import drain, read_body
from artfs.server.errors import STATUSES
from artfs.server.service import Service
from artfs.wandb_server.downloads import FILES, content_url
from artfs.wandb_server.graphql import execute, parse_operation
from artfs.wandb_server.ids import decode_artifact
from artfs.wandb_server.queries import mutation_root, query_root
from artfs.wandb_server.run_changes import Stream, take_stream
from artfs.wandb_server.service import Caller, WandbService
from artfs.wandb_server.transfers import get_signed, put_signed

BODY_BYTES_MAX = 64 << 20
ARTIFACTS = "/artifactsV2"
FAILED = 422  # final for the client, unlike 500

_log = logging.getLogger(__name__)
Open = Callable[[Service], WandbService]
_Answer = Callable[[Service, WandbService, Request], Awaitable[Response]]


def routes(open_wandb: Open) -> list[Route]:
    """What is answered besides the registry's own interface. What it needs is opened with the first request."""
    return [
        Route("/graphql", _endpoint("/graphql", answer_graphql, open_wandb), methods=["POST"]),
        Route(
            "/files/{entity}/{project}/{run}/file_stream",
            _endpoint("file_stream", answer_stream, open_wandb),
            methods=["POST"],
        ),
        Route(ARTIFACTS + "/{path:path}", _endpoint(ARTIFACTS, redirect_to_file, open_wandb), methods=["GET"]),
        Route(FILES + "/{what}/{name:path}", _endpoint(FILES, get_signed, open_wandb), methods=["GET"]),
        Route(FILES + "/{what}/{name:path}", _endpoint(FILES, put_signed, open_wandb), methods=["PUT"]),
    ]


def _endpoint(name: str, answer: _Answer, open_wandb: Open) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        service: Service = request.app.state.service
        request.state.route = name
        try:
            return await answer(service, await _opened(request, open_wandb), request)
        except ArtfsError as error:
            if isinstance(error, NotAuthenticated):
                metrics.REFUSED.inc()
            else:
                await drain(request, service.settings)
            return refusal(error)
        except Exception:
            _log.exception("%s %s failed (request %s)", request.method, request.url.path, request.state.request_id)
            return _errors(f"the server failed; its log has the reason, under {request.state.request_id}", FAILED)

    return answered


async def _opened(request: Request, open_wandb: Open) -> WandbService:
    """This worker's service, opened once: nothing between looking and setting it lets another request go first."""
    state = request.app.state
    if getattr(state, "wandb", None) is None:
        state.wandb = open_wandb(state.service)
        state.service.at_close(state.wandb.close)
    found: WandbService = state.wandb
    return found


def refusal(error: ArtfsError) -> Response:
    """An error as the client shows it."""
    status = STATUSES.get(error.code, FAILED)
    if status >= 500 and status != 503:
        _log.error("%s", error)
        status = FAILED
    message = error.message if status < 500 else "the server's storage does not answer; try again later"
    if status == 401:
        message = "this needs a valid API key; artfs token create --wandb makes one"
    hint = f" ({error.hint})" if error.hint and status not in (401, 503) else ""
    headers = {"Retry-After": "5"} if status in (429, 503) else {}
    return _errors(message + hint, status, headers)


def _errors(message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"errors": [{"message": message}], "data": None}, status, headers)


async def _caller(service: Service, wandb: WandbService, request: Request) -> Caller:
    identity, registry = await service.caller(request)
    request.state.user = identity.user.name
    return Caller(wandb, identity, registry, wandb.public_url or str(request.base_url).rstrip("/"))


class _Request(msgspec.Struct, frozen=True):
    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # as it is sent


async def answer_graphql(service: Service, wandb: WandbService, request: Request) -> Response:
    caller = await _caller(service, wandb, request)
    body = await read_body(request, BODY_BYTES_MAX, service.settings)
    return await service.run(_graphql, caller, body)


def _graphql(caller: Caller, body: bytes) -> Response:
    asked = _decoded(body, _Request)
    operation = parse_operation(asked.query, asked.variables or {}, asked.operationName or "")
    root = mutation_root(caller) if operation.is_mutation else query_root(caller)
    try:
        data = execute(operation, root)
    except (LookupError, TypeError, AttributeError, ValueError) as error:  # a variable is missing, or of another kind
        _log.warning("%s cannot be answered", operation.fields, exc_info=error)
        raise InvalidValue(f"{', '.join(operation.fields)}: something is missing, or of another kind") from None
    return Response(msgspec.json.encode({"data": data}), media_type="application/json")


async def answer_stream(service: Service, wandb: WandbService, request: Request) -> Response:
    caller = await _caller(service, wandb, request)
    path = request.path_params
    run = RunRef(check_name("project", path["project"]), check_name("run", path["run"]))
    sent = _decoded(await read_body(request, BODY_BYTES_MAX, service.settings), Stream)
    await service.run(take_stream, caller, run, sent)
    return JSONResponse({"exitcode": None, "limits": {}})


async def redirect_to_file(service: Service, wandb: WandbService, request: Request) -> Response:
    """Any of the project's files with that MD5: `REGION/ENTITY/[PROJECT/COLLECTION/[ARTIFACT/]]BIRTH_ARTIFACT/MD5/NAME`."""
    caller = await _caller(service, wandb, request)
    parts = request.path_params["path"].split("/")
    if not 5 <= len(parts) <= 8:
        raise PathNotFound("there is no such file")
    project = check_name("project", parts[2]) if len(parts) > 5 else _project_of(parts[2])
    url = await service.run(_find_file, caller, project, parts[-2], parts[-1])
    return RedirectResponse(url, 302)


def _project_of(birth_id: str) -> str:
    """Raises NotFound."""
    found = decode_artifact(birth_id)
    if not isinstance(found, VersionRef):
        raise PathNotFound("there is no such file")
    return found.project


def _find_file(caller: Caller, project: str, digest: str, name: str) -> str:
    found = caller.service.contents.by_md5(caller.registry.projects.get(project), [digest.lower()])
    if not found:
        raise PathNotFound(f"project {project!r} has no file with the MD5 {digest[:64]!r}")
    return content_url(caller, project, next(iter(found.values())), name)


def _decoded(body: bytes, type_: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"the body is not what it must be: {error}") from None


def opener(open_client: Callable[..., Any], directory: Path, public_url: str = "") -> Open:
    """How a worker opens what it needs."""
    return lambda service: WandbService(service.registry, open_client, directory, public_url)
