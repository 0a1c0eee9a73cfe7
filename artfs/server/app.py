"""The application: from a request to an operation of the table, with the limits and the log line that every request gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from artfs.errors import ArtfsError, NotAuthenticated, NotFound, Unavailable
from artfs.registry.guarded import GuardedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.server import (
    access_routes,
    catalog_routes,
    change_routes,
    deletion_routes,
    metrics,
    object_routes,
    pack_routes,
    recipe_routes,
    run_routes,
)
from artfs.server.access_log import RequestLog
from artfs.server.bodies import drain, read_json
from artfs.server.errors import error_response, json_response, on_artfs_error, on_http_error
from artfs.server.routes import Call, Handler, Operation, check_path, check_query
from artfs.server.service import Service
from artfs.server.settings import ServerSettings
from artfs.wire.http import API, Contribution, Finish, History
from artfs.wire.records import SealRequest, VersionChange
from artfs.wire.runs import NewRun, NewSweep, RunChange

OPERATIONS: tuple[Operation, ...] = (
    *access_routes.OPERATIONS,
    *catalog_routes.OPERATIONS,
    *deletion_routes.OPERATIONS,
    *object_routes.OPERATIONS,
    *pack_routes.OPERATIONS,
    *recipe_routes.OPERATIONS,
    *change_routes.OPERATIONS,
    *run_routes.OPERATIONS,
)

WITH_METADATA = (SealRequest, VersionChange, NewRun, RunChange, NewSweep, History, Contribution, Finish)
_Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    open_registry: Callable[[], SqlRegistry], settings: ServerSettings, more: Sequence[Route] = ()
) -> Starlette:
    """The server's application. `open_registry` is called when a worker starts, in that worker; `more` is answered besides."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service = app.state.service = Service(open_registry(), settings)
        collecting = asyncio.create_task(service.collect_regularly())
        try:
            yield
        finally:
            service.stopping = True
            collecting.cancel()
            with suppress(asyncio.CancelledError):
                await collecting
            service.close()

    routes = [Route(path, _endpoint(path, by_method), methods=[*by_method]) for path, by_method in _by_path().items()]
    routes += [Route("/healthz", healthy), Route("/readyz", ready)]
    routes += more
    routes += [] if settings.metrics_listen else [Route("/metrics", show_metrics)]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={ArtfsError: on_artfs_error, HTTPException: on_http_error},
    )
    app.router.redirect_slashes = False
    app.add_middleware(RequestLog, requests_max=settings.requests_max)
    return app


def _by_path() -> dict[str, dict[str, Operation]]:
    """One route a path, so that a wrong method is told which ones there are."""
    found: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        found.setdefault(API + operation.path, {})[operation.method] = operation
    return found


def _endpoint(path: str, by_method: dict[str, Operation]) -> _Endpoint:
    async def answer(request: Request) -> Response:
        service: Service = request.app.state.service
        request.state.route = path
        operation = by_method.get(request.method) or by_method["GET"]  # HEAD
        try:
            identity, registry = await service.caller(request)
        except NotAuthenticated as error:
            metrics.REFUSED.inc()
            return error_response(error)
        request.state.user = identity.user.name
        try:
            return await _answer(operation, service, request, registry)
        except ArtfsError as error:
            if request.method in ("PUT", "POST", "PATCH") and not isinstance(error, Unavailable):
                await drain(request, service.settings)
            raise

    return answer


async def _answer(operation: Operation, service: Service, request: Request, registry: GuardedRegistry) -> Response:
    path, query = request.path_params, dict(request.query_params)
    check_path(path)
    check_query(query, operation.query)
    body = None
    if operation.body is not None:
        settings = service.settings
        most = settings.metadata_bytes_max if operation.body in WITH_METADATA else settings.json_bytes_max
        body = await read_json(request, operation.body, most, settings)
    call = Call(registry, path, query, body)
    if operation.streamer is not None:
        return await operation.streamer(service, request, call)
    assert operation.handler is not None
    return await service.run(_handled, operation.handler, operation.status, call)


def _handled(handler: Handler, status: int, call: Call) -> Response:
    """In a thread, writing the answer too: a long one would keep the event loop from others."""
    found = handler(call)
    return Response(status_code=204) if status == 204 else json_response(found, status)


async def healthy(request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def ready(request: Request) -> Response:
    service: Service = request.app.state.service
    if service.stopping:
        return error_response(Unavailable("the server is stopping", hint="use another"))
    await service.check_ready()
    return PlainTextResponse("ok\n")


async def show_metrics(request: Request) -> Response:
    """For callers on this machine, and for administrators of the server; to others there is no such thing."""
    if not _is_local(request):
        service: Service = request.app.state.service
        identity, _ = await service.caller(request)
        if not identity.user.admin:
            raise NotFound("Not Found: GET /metrics")
    return metrics.response()


def _is_local(request: Request) -> bool:
    """Whether the caller is on this machine and no proxy has passed the request on."""
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    if request.client is None or not request.client.host:
        return True  # a unix socket
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
