"""What an error becomes for whoever sent the request: a status and a small JSON body. One table; nothing else is told."""

from __future__ import annotations

import logging
from math import ceil

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from artfs.errors import ArtfsError, TooManyRequests
from artfs.wire import json
from artfs.wire.http import ErrorBody
from artfs.wire.integrity import CONTENT_DIGEST, content_digest

RETRY_AFTER_S = 1

STATUSES: dict[str, int] = {
    "error": 500,
    "usage": 400,
    "invalid-name": 400,
    "invalid-value": 400,
    "unsupported-file": 400,
    "too-large": 413,
    "not-found": 404,
    "project-not-found": 404,
    "artifact-not-found": 404,
    "version-not-found": 404,
    "alias-not-found": 404,
    "path-not-found": 404,
    "draft-not-found": 404,
    "user-not-found": 404,
    "token-not-found": 404,
    "run-not-found": 404,
    "sweep-not-found": 404,
    "conflict": 409,
    "already-exists": 409,
    "not-empty": 409,
    "type-mismatch": 409,
    "still-aliased": 409,
    "draft-closed": 409,
    "busy": 409,
    "file-changed": 409,
    "path-conflict": 409,
    "lineage-cycle": 409,
    "reference-changed": 409,
    "directory-differs": 409,
    "access-denied": 403,
    "not-authenticated": 401,
    "reference-forbidden": 403,
    "damaged": 422,
    "damaged-object": 422,
    "damaged-pack": 422,
    "object-missing": 422,
    "damaged-database": 500,
    "newer-format": 422,
    "unavailable": 503,
    "storage-full": 507,
    "storage-failed": 503,
    "registry-unavailable": 503,
    "too-many-requests": 429,
    "reference-unavailable": 503,
    "machine-not-ready": 500,
}

# What these say of files, databases and buckets is for the server's log, not for callers.
_INTERNAL = {
    *("error", "damaged-database", "storage-failed", "storage-full", "registry-unavailable", "machine-not-ready"),
    "reference-unavailable",  # a client's error: no server follows references
}
_SAID_INSTEAD = {
    "storage-failed": ("the server's storage does not answer as it should", "try again later"),
    "storage-full": ("the server's storage is full", "delete versions that are not needed, or tell its administrator"),
    "registry-unavailable": ("the server's database does not answer", "try again later"),
}
_NO_TOKEN = ("this needs a valid token", "artfs login URL")
_INTERNAL_SENTENCE = ("the server failed", "its log has the reason, under the request's id")

_log = logging.getLogger(__name__)


def error_response(error: ArtfsError) -> Response:
    """The answer for a deliberate error; what is not the caller's business is logged instead."""
    status = STATUSES.get(error.code, 500)
    message, hint = error.message, error.hint
    if status == 401:  # the same for every reason, of which there must be no telling
        message, hint = _NO_TOKEN
    elif error.code in _INTERNAL:
        _log.error("%s", error)
        message, hint = _SAID_INSTEAD.get(error.code, _INTERNAL_SENTENCE)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        wait_s = error.retry_after_s if isinstance(error, TooManyRequests) else RETRY_AFTER_S
        headers["Retry-After"] = str(max(1, ceil(wait_s)))
    return json_response(ErrorBody(error.code, message, hint), status, headers)


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.encode(value)
    told = {CONTENT_DIGEST: content_digest(body), **(headers or {})}
    return Response(body, status, told, media_type="application/json")


async def on_artfs_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ArtfsError)
    return error_response(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """What Starlette answers by itself: no such path, no such method."""
    assert isinstance(error, HTTPException)
    code = {404: "not-found", 405: "usage"}.get(error.status_code, "usage" if error.status_code < 500 else "error")
    body = ErrorBody(code, f"{error.detail}: {request.method} {request.url.path}", "docs/api.md lists what there is")
    return json_response(body, error.status_code, dict(error.headers or {}))


def failure_response() -> Response:
    """For anything unexpected: whoever caught it has logged it, and the caller is told nothing of it."""
    return json_response(ErrorBody("error", *_INTERNAL_SENTENCE), 500)
