"""What an answer of a server means: the error it tells, whether trying again may help, and when.

Only the registry's own JSON is believed. An error page of a proxy, a portal's login form or a cut body is an unavailable
registry, never content. Pure.
"""

from __future__ import annotations

from artfs.client.remote.connections import Answer
from artfs.errors import (
    ArtfsError,
    InvalidValue,
    PathNotFound,
    RegistryUnavailable,
    StorageFailed,
    TooManyRequests,
    error_class,
)
from artfs.wire import json
from artfs.wire.http import ErrorBody

MESSAGE_CHARACTERS_MAX = 2000
RETRY_AFTER_S_MAX = 3600.0
_GATEWAY = (502, 503, 504)  # the registry, or what is before it, is not able to answer


def is_json(answer: Answer) -> bool:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"


def told_error(answer: Answer) -> ErrorBody | None:
    """None for what is not the registry's own error."""
    if not is_json(answer):
        return None
    try:
        return json.decode(answer.body, ErrorBody)
    except InvalidValue:
        return None


def error_of(answer: Answer, server: str, *, is_own: bool = True) -> ArtfsError:
    """The error that a status other than of success tells. `is_own`: it is the registry's server, not a bucket."""
    if not is_own:
        # A signature that expired, or a pack that was rewritten, is asked for anew.
        kind = PathNotFound if answer.status in (403, 404, 410) or _is_expired(answer) else StorageFailed
        return kind(f"the bucket of {server} answered {answer.status}", hint="see the server's log")
    body = told_error(answer)
    if body is None:
        return strange(answer, server)
    message, hint = body.message[:MESSAGE_CHARACTERS_MAX], body.hint[:MESSAGE_CHARACTERS_MAX]
    told = error_class(body.code)
    if told is TooManyRequests:
        return TooManyRequests(message, hint=hint, retry_after_s=retry_after_s(answer) or 1.0)
    if told is ArtfsError:
        return RegistryUnavailable(f"{server} failed: {message}", hint=hint or "the server's log tells why")
    return told(message, hint=hint)


def _is_expired(answer: Answer) -> bool:
    """Whether a bucket says so with 400: Google's of a signature, S3 of one by passing keys that ended before it."""
    return answer.status == 400 and b"<Code>ExpiredToken</Code>" in answer.body


def strange(answer: Answer, server: str) -> RegistryUnavailable:
    """An answer that no registry gives."""
    return RegistryUnavailable(
        f"{server} answered {answer.status}, and not as an artfs server does",
        hint="it redirects: give the address that it redirects to"
        if 300 <= answer.status < 400
        else "check the address, and what is between here and there",
    )


def check_asked(is_so: bool, server: str) -> None:
    """Raises RegistryUnavailable for an answer to another question: of a cache, or a proxy that mixes connections up."""
    if not is_so:
        raise RegistryUnavailable(f"{server} answered something else than was asked", hint="try again")


def may_help_later(answer: Answer, *, repeatable: bool) -> bool:
    """Whether the same request may get another answer. What was refused with 429 was not acted upon."""
    return answer.status == 429 or (repeatable and answer.status in (408, 500, *_GATEWAY))


def tells_of_absence(answer: Answer) -> bool:
    """Whether the registry as a whole is out of reach, not only what was asked for."""
    if answer.status not in _GATEWAY:
        return False
    body = told_error(answer)
    return body is None or body.code == RegistryUnavailable.code


def retry_after_s(answer: Answer) -> float:
    """What `Retry-After` asks for; 0 if nothing, or a date, which no registry sends."""
    text = answer.headers.get("Retry-After", "").strip()
    return min(float(text), RETRY_AFTER_S_MAX) if text.isascii() and text.isdigit() and len(text) < 9 else 0.0
