"""One JSON line for every request, and its metrics; the id that ties an answer to the log; the bound on requests at once; and the
edge where an exception that nobody expected becomes an answer.

Never logged: headers, queries, bodies, and what looks like a token in a path. So no token and no signature can get here.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artfs.errors import Unavailable, UsageError
from artfs.server import metrics
from artfs.server.errors import error_response, failure_response
from artfs.wire.http import EXCHANGE_ID, REQUEST_ID

ACCESS_LOG = "artfs.access"
ALWAYS_ANSWERED = {"/healthz", "/readyz", "/metrics"}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ID_HEADER = REQUEST_ID.lower().encode()
_EXCHANGE_HEADER = EXCHANGE_ID.lower().encode()
_TOKEN = re.compile(r"artfs_[0-9a-zA-Z]+_\w+")
_SLOT = "request_slot"
_CLOSE = (b"connection", b"close")

_log = logging.getLogger(ACCESS_LOG)
_failures = logging.getLogger(__name__)


class RequestLog:
    """ASGI middleware around everything else. Owner of the count of requests under way: the event loop."""

    def __init__(self, app: ASGIApp, requests_max: int) -> None:
        self._app = app
        self._requests_max = requests_max
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(scope)
        scope["state"][_SLOT] = self
        self._count(1)
        try:
            app: ASGIApp = self._app
            if _has_two_lengths(scope):
                app = error_response(UsageError("a body with two lengths", hint="send one"))
            elif self._under_way > self._requests_max and scope["path"] not in ALWAYS_ANSWERED:
                app = error_response(Unavailable("the server has too much to do", hint="try again"))
            await self._answered(app, scope, seen.receiving(receive), seen.sending(send), seen)
        finally:
            self._count(-1)
            seen.tell()

    async def _answered(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, seen: _Seen) -> None:
        try:
            await app(scope, receive, send)
        except Exception:
            _failures.exception("%s %s failed (request %s)", scope["method"], scope["path"], seen.id.decode())
            if seen.begun:
                raise ConnectionAbortedError("an answer failed half way") from None  # the server cuts the connection
            await failure_response()(scope, receive, send)

    def _count(self, change: int) -> None:
        self._under_way += change
        metrics.UNDER_WAY.inc(change)

    @contextmanager
    def idle(self) -> Iterator[None]:
        """A request that only waits takes no other's place."""
        self._count(-1)
        try:
            yield
        finally:
            self._count(1)


def waiting(state: dict[str, Any]) -> Any:
    """A block in which the request with this state does not count as under way."""
    return state[_SLOT].idle()


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and size != b"0") for name, size in scope["headers"]
    )


def _has_two_lengths(scope: Scope) -> bool:
    """Whether a proxy in front could have seen another body than this server does: then what follows is not trusted."""
    names = {name for name, _ in scope["headers"]}
    return {b"content-length", b"transfer-encoding"} <= names


class _Seen:
    """What is noted of one request."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._begin_s = time.perf_counter()
        self._status = 0
        self._sent = self._received = 0
        self._awaited = _has_body(scope)  # whether there is more of a body, which then would be taken for a request
        headers = dict(scope["headers"])
        exchange = headers.get(_EXCHANGE_HEADER, b"")
        self._said_again = [(_EXCHANGE_HEADER, exchange)] if _ID.fullmatch(exchange) else []
        given = headers.get(_ID_HEADER, b"")
        self.id = given if _ID.fullmatch(given) and not _TOKEN.search(given.decode()) else os.urandom(8).hex().encode()
        scope.setdefault("state", {})["request_id"] = self.id.decode()

    @property
    def begun(self) -> bool:
        return self._status != 0

    def receiving(self, receive: Receive) -> Receive:
        async def wrapped() -> Message:
            message = await receive()
            self._awaited = self._awaited and message.get("more_body", False)
            self._received += len(message.get("body", b""))
            return message

        return wrapped

    def sending(self, send: Send) -> Send:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                more = [(_ID_HEADER, self.id), *self._said_again, *([_CLOSE] if self._awaited else [])]
                message["headers"] = [*message.get("headers", []), *more]
            self._sent += len(message.get("body", b""))
            await send(message)

        return wrapped

    def tell(self) -> None:
        took_s = time.perf_counter() - self._begin_s
        method = self._scope["method"] if self._scope["method"] in METHODS else "other"  # one label each, for ever
        template = self._scope["state"].get("route", "")
        metrics.REQUESTS.labels(method, template, self._status).inc()
        metrics.SECONDS.labels(method, template).observe(took_s)
        metrics.SENT.inc(self._sent)
        metrics.RECEIVED.inc(self._received)
        _log.info("%s", json.dumps(self._line(template, took_s)))  # ASCII: no character in it ends a line

    def _line(self, template: str, took_s: float) -> dict[str, Any]:
        client = self._scope.get("client")
        return {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "id": self.id.decode(),
            "client": client[0] if client else "",
            "user": self._scope["state"].get("user", ""),
            "method": self._scope["method"],
            "path": _TOKEN.sub("artfs_...", self._scope["path"]),
            "route": template,
            "status": self._status,
            "received_bytes": self._received,
            "sent_bytes": self._sent,
            "seconds": round(took_s, 6),
        }
