"""Changes that the caller may see, with or without waiting for one."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from artfs.server import metrics
from artfs.server.access_log import waiting
from artfs.server.routes import LIMIT, Call, Operation, Parameter
from artfs.server.service import Service
from artfs.wire.http import WAIT_S_MAX, Changes


async def changes(service: Service, request: Request, call: Call) -> Response:
    position = await service.run(call.registry.changes.position)
    seq = call.number("after", position)
    if "after" not in call.query or position < seq:  # the registry was put back to an earlier state
        return service.json(Changes(position))
    wait_s = min(float(call.number("wait_s", 0)), WAIT_S_MAX)
    deadline_s = time.monotonic() + wait_s
    while True:
        found, seen = await service.run(call.registry.changes.scan, seq, call.limit)
        seq = max(seen, seq)
        if found or not await _moved(service, request, seq, deadline_s):
            return service.json(Changes(seq, found))


async def _moved(service: Service, request: Request, seq: int, deadline_s: float) -> bool:
    """Wait until something changed after `seq`; False when there is no point in waiting on."""
    with waiting(request.scope["state"]), metrics.WAITERS.track_inprogress():
        while (left_s := deadline_s - time.monotonic()) > 0:
            if service.stopping or await request.is_disconnected():
                return False
            if await service.feed.wait_beyond(seq, min(left_s, service.stop_check_s)):
                return True
    return False


OPERATIONS = (
    Operation(
        "GET",
        "/changes",
        "Changes after a number, waiting for one if asked to",
        streamer=changes,
        answer=Changes,
        query=(
            Parameter("after", "the position already seen; without it only the position is told"),
            LIMIT,
            Parameter("wait_s", f"seconds to wait for a change; at most {WAIT_S_MAX:.0f}"),
        ),
    ),
)
