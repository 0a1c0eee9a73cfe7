"""Numbers for Prometheus. With several workers they are shared through files (see `process`)."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REQUESTS = Counter("artfs_requests_total", "Requests answered", ["method", "path", "status"])
SECONDS = Histogram("artfs_request_seconds", "Time to answer a request, in seconds", ["method", "path"])
SENT = Counter("artfs_sent_bytes_total", "Bytes of answers' bodies")
RECEIVED = Counter("artfs_received_bytes_total", "Bytes of requests' bodies")
UNDER_WAY = Gauge("artfs_requests_under_way", "Requests being answered", multiprocess_mode="livesum")
WAITERS = Gauge("artfs_change_waiters", "Long polls waiting for changes", multiprocess_mode="livesum")
REFUSED = Counter("artfs_tokens_refused_total", "Requests without a valid token")


def rendered() -> bytes:
    """All of it, of all workers."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the package leaves it untyped
    return generate_latest(registry)


def response() -> Response:
    return Response(rendered(), media_type=MEDIA_TYPE)


def application() -> Starlette:
    """Answers /metrics, for an address of its own."""

    async def show(_: Request) -> Response:
        return response()

    return Starlette(routes=[Route("/metrics", show)])
