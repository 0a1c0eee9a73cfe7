"""One JSON line for every request, and its metrics; the id that ties an answer to the log; the bound on requests at once.

Never logged: headers, queries, bodies. So no token and no signature can get here.
"""

from __future__ import annotations

import logging
import os
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artfs.errors import Unavailable
from artfs.server import metrics
from artfs.server.errors import error_response
from artfs.wire import json
from artfs.wire.http import REQUEST_ID

ACCESS_LOG = "artfs.access"
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ID_HEADER = REQUEST_ID.lower().encode()

_log = logging.getLogger(ACCESS_LOG)


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
        self._under_way += 1
        metrics.UNDER_WAY.inc()
        try:
            app: ASGIApp = self._app
            if self._under_way > self._requests_max:
                app = error_response(Unavailable("the server has too much to do", hint="try again"))
            await app(scope, seen.receiving(receive), seen.sending(send))
        finally:
            self._under_way -= 1
            metrics.UNDER_WAY.dec()
            seen.tell()


class _Seen:
    """What is noted of one request."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._begin_s = time.perf_counter()
        self._status = 0
        self._sent = self._received = 0
        given = dict(scope["headers"]).get(_ID_HEADER, b"")
        self.id = given if _ID.fullmatch(given) else os.urandom(8).hex().encode()
        scope.setdefault("state", {})["request_id"] = self.id.decode()

    def receiving(self, receive: Receive) -> Receive:
        async def wrapped() -> Message:
            message = await receive()
            self._received += len(message.get("body", b""))
            return message

        return wrapped

    def sending(self, send: Send) -> Send:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                message["headers"] = [*message.get("headers", []), (_ID_HEADER, self.id)]
            self._sent += len(message.get("body", b""))
            await send(message)

        return wrapped

    def tell(self) -> None:
        took_s = time.perf_counter() - self._begin_s
        method, template = self._scope["method"], getattr(self._scope.get("route"), "path", "")
        metrics.REQUESTS.labels(method, template, self._status).inc()
        metrics.SECONDS.labels(method, template).observe(took_s)
        metrics.SENT.inc(self._sent)
        metrics.RECEIVED.inc(self._received)
        _log.info("%s", json.encode(self._line(method, template, took_s)).decode())

    def _line(self, method: str, template: str, took_s: float) -> dict[str, Any]:
        client = self._scope.get("client")
        return {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "id": self.id.decode(),
            "client": client[0] if client else "",
            "user": self._scope["state"].get("user", ""),
            "method": method,
            "path": self._scope["path"],
            "route": template,
            "status": self._status,
            "received_bytes": self._received,
            "sent_bytes": self._sent,
            "seconds": round(took_s, 6),
        }
