"""What an answer of a W&B server means: data, or the error that it tells. Pure.

Only JSON of the form that GraphQL prescribes is believed: an error page of a proxy or a login form is an unavailable server.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from artfs.client.remote.answers import MESSAGE_CHARACTERS_MAX, retry_after_s
from artfs.client.remote.connections import Answer
from artfs.errors import AccessDenied, ArtfsError, NotAuthenticated, NotFound, RegistryUnavailable, TooManyRequests
from artfs.wire.json import UNDECODABLE

KEY_HINT = "wandb login, or set WANDB_API_KEY"

# A server tells what kind of error it is by the status, by a code, or in words only. The first that matches is meant.
_BY_STATUS: dict[int, type[ArtfsError]] = {
    401: NotAuthenticated,
    403: AccessDenied,
    404: NotFound,
    429: TooManyRequests,
}
_BY_WORDS: tuple[tuple[re.Pattern[str], type[ArtfsError]], ...] = (
    (
        re.compile(r"unauthenticated|not logged in|must be logged in|invalid api key|needs a valid api key"),
        NotAuthenticated,
    ),
    (re.compile(r"permission|forbidden|access denied|not authorized|unauthorized"), AccessDenied),
    (re.compile(r"not[ _]found|does not exist|could not find"), NotFound),
)


class _Error(msgspec.Struct, frozen=True):
    message: str = ""
    extensions: dict[str, Any] | None = None


class _Body(msgspec.Struct, frozen=True):
    data: msgspec.Raw = msgspec.Raw(b"null")
    errors: list[_Error | str] | None = None


_decoder = msgspec.json.Decoder(_Body)


def data_of(answer: Answer, server: str) -> msgspec.Raw:
    """The JSON of what was asked for. Raises what the server tells instead, and RegistryUnavailable for what is no answer."""
    try:
        body = _decoder.decode(answer.body)
    except UNDECODABLE:
        raise _strange(answer, server) from None
    if body.errors:
        raise _told(answer, body.errors[0], server)
    if answer.status != 200 or bytes(body.data) == b"null":
        raise _strange(answer, server)
    return body.data


def _told(answer: Answer, error: _Error | str, server: str) -> ArtfsError:
    message, code = (error, "") if isinstance(error, str) else (error.message, _code(error))
    message = message[:MESSAGE_CHARACTERS_MAX] or f"no reason (status {answer.status})"
    kind = _BY_STATUS.get(answer.status)
    if kind is None and answer.status < 500:
        words = f"{code} {message}".lower()
        kind = next((found for pattern, found in _BY_WORDS if pattern.search(words)), None)
    return _error(kind, message, answer, server)


def _code(error: _Error) -> str:
    return str((error.extensions or {}).get("code", ""))[:MESSAGE_CHARACTERS_MAX]


def _strange(answer: Answer, server: str) -> ArtfsError:
    """What is no answer of GraphQL. A status says enough where anything may stand in the body."""
    kind = _BY_STATUS.get(answer.status)
    if kind is not None and kind is not NotFound:
        return _error(kind, f"status {answer.status}", answer, server)
    redirects = 300 <= answer.status < 400
    return RegistryUnavailable(
        f"{server} answered {answer.status}, and not as a W&B server does",
        hint="it redirects: give the address that it redirects to"
        if redirects
        else "check the address, and what is between here and there",
    )


def _error(kind: type[ArtfsError] | None, message: str, answer: Answer, server: str) -> ArtfsError:
    if kind is NotAuthenticated:
        return NotAuthenticated(f"{server} does not accept the API key: {message}", hint=KEY_HINT)
    if kind is TooManyRequests:
        asked_s = retry_after_s(answer) or 1.0
        return TooManyRequests(f"{server} asks to slow down: {message}", retry_after_s=asked_s)
    if kind is None:
        return RegistryUnavailable(f"{server} failed: {message}", hint="try again later")
    return kind(f"{server} answers: {message}")
