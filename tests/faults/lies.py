"""What a lying or failing server does, by name: faults for `tests.faults.lying`."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace

from tests.faults.lying import Answer, Exchange, Fault

DRIP_S = 0.2  # between two bytes
HTML = b"<!doctype html><html><body>Log in to the guest network</body></html>"
_DICE = random.Random(7)


def changed_byte(data: bytes) -> bytes:
    """With a byte near the middle changed so that text stays text."""
    if not data:
        return data
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _on_body(change: Callable[[bytes], bytes]) -> Fault:
    """The answer's body is changed, and its head says what it said."""

    def strike(exchange: Exchange) -> None:
        answer = exchange.forwarded()
        exchange.reply(replace(answer, body=change(answer.body)))

    return strike


def _flip_upwards(exchange: Exchange) -> None:
    exchange.reply(exchange.forwarded(replace(exchange.request, body=changed_byte(exchange.request.body))))


def _garbage(exchange: Exchange) -> None:
    exchange.send(_DICE.randbytes(4000))
    exchange.hang_up()


def _cut(exchange: Exchange) -> None:
    answer = exchange.forwarded()
    exchange.reply(replace(answer, body=answer.body[: len(answer.body) // 2], length=len(answer.body)))
    exchange.hang_up()


def _page(exchange: Exchange) -> None:
    exchange.reply(Answer(200, (("Content-Type", "text/html"),), HTML))


def _range_of(exchange: Exchange) -> tuple[int, int] | None:
    first, _, last = exchange.request.header("range").removeprefix("bytes=").partition("-")
    return (int(first), int(last)) if first and last else None


def _whole_for_a_range(exchange: Exchange) -> None:
    if _range_of(exchange) is None:
        exchange.spare()
    else:
        exchange.reply(exchange.forwarded(exchange.request.without("range")))


def _another_range(*, told: bool) -> Fault:
    """A range of the right length from elsewhere, that says so or not."""

    def strike(exchange: Exchange) -> None:
        wanted = _range_of(exchange)
        right = exchange.forwarded()
        if wanted is None or right.status != 206:
            exchange.liar.struck -= 1
            exchange.reply(right)
            return
        begin = wanted[0] - 1 if wanted[0] else 1
        shifted = exchange.request.without("range")
        span = ("Range", f"bytes={begin}-{begin + wanted[1] - wanted[0]}")
        answer = exchange.forwarded(replace(shifted, headers=(*shifted.headers, span)))
        said = dict(right.headers)
        if not told:
            answer = replace(right, body=answer.body.ljust(len(right.body), b"\0")[: len(right.body)])
        assert said
        exchange.reply(answer)

    return strike


def _of_another(exchange: Exchange) -> None:
    answer = exchange.liar.of_another(exchange.request)
    if answer is None:
        exchange.spare()
    else:
        exchange.reply(answer)


def _of_another_as_asked(exchange: Exchange) -> None:
    """Another's bytes, of the right length and with the right head."""
    other, right = exchange.liar.of_another(exchange.request), exchange.forwarded()
    if other is None or right.status not in (200, 206):
        exchange.liar.struck -= 1
        exchange.reply(right)
    else:
        exchange.reply(replace(right, body=other.body.ljust(len(right.body), b" ")[: len(right.body)]))


def _stale(exchange: Exchange) -> None:
    answer = exchange.liar.earlier(exchange.request)
    if answer is None:
        exchange.spare()
    else:
        exchange.reply(answer)


def _lose(exchange: Exchange) -> None:
    exchange.forwarded()
    exchange.hang_up()


def _twice(exchange: Exchange) -> None:
    """The client gets the second answer."""
    exchange.forwarded()
    exchange.reply(exchange.forwarded())


def _twice_first(exchange: Exchange) -> None:
    first = exchange.forwarded()
    exchange.forwarded()
    exchange.reply(first)


def _half(exchange: Exchange) -> None:
    exchange.send_half()
    exchange.hang_up()


def _redirect(status: int) -> Fault:
    def strike(exchange: Exchange) -> None:
        place = exchange.liar.stranger.url + exchange.request.target
        exchange.reply(Answer(status, (("Location", place),), b""))

    return strike


def _status(status: int, **headers: str) -> Fault:
    """What stands before a server answers, with a page."""
    told = (("Content-Type", "text/html"), *((name.replace("_", "-"), value) for name, value in headers.items()))

    def strike(exchange: Exchange) -> None:
        exchange.reply(Answer(status, told, HTML))

    return strike


def _told(status: int, code: str, **headers: str) -> Fault:
    """The answer that an artfs server gives, without its having been asked."""
    body = json.dumps({"code": code, "message": "told by the liar", "hint": ""}).encode()
    told = (("Content-Type", "application/json"), *((name.replace("_", "-"), value) for name, value in headers.items()))

    def strike(exchange: Exchange) -> None:
        exchange.reply(Answer(status, told, body))

    return strike


def _reset(exchange: Exchange) -> None:
    exchange.reset()


def _black_hole(exchange: Exchange) -> None:
    while exchange.pause(1.0):
        pass
    exchange.hang_up()


def _drip(exchange: Exchange) -> None:
    for byte in exchange.forwarded().encoded():
        exchange.send(bytes([byte]))
        if not exchange.pause(DRIP_S):
            break
    exchange.hang_up()


def _stop(exchange: Exchange) -> None:
    exchange.liar.stop()
    exchange.reply(exchange.forwarded())


HANGS: dict[str, Fault] = {
    "a black hole": _black_hole,
    "a slow drip": _drip,
    "a stopped server": _stop,
}
"""Faults that take time to notice."""

LIES: dict[str, Fault] = {
    "a flipped byte": _on_body(changed_byte),
    "a flipped byte on the way up": _flip_upwards,
    "garbage": _garbage,
    "garbage of the right length": _on_body(lambda body: _DICE.randbytes(len(body))),
    "a short body": _cut,
    "a short body that says so": _on_body(lambda body: body[: len(body) // 2]),
    "a page with 200": _page,
    "the whole for a range": _whole_for_a_range,
    "another range": _another_range(told=True),
    "another range that says it is the right one": _another_range(told=False),
    "another object": _of_another,
    "another object that says it is the right one": _of_another_as_asked,
    "a stale answer": _stale,
}

FAILURES: dict[str, Fault] = {
    "a lost answer": _lose,
    "a request twice": _twice,
    "a request twice, the first answer": _twice_first,
    "half a request": _half,
    "a redirect to another host": _redirect(302),
    "a lasting redirect to another host": _redirect(308),
    **{f"status {status}": _status(status) for status in (401, 403, 404, 409, 429, 500, 502, 503)},
    "status 429 with Retry-After": _status(429, Retry_After="1"),
    "status 503 with Retry-After": _status(503, Retry_After="1"),
    "a reset": _reset,
}

TOLD: dict[str, Fault] = {
    "told 401": _told(401, "not-authenticated"),
    "told 403": _told(403, "access-denied"),
    "told 404": _told(404, "version-not-found"),
    "told 409": _told(409, "conflict"),
    "told 429": _told(429, "too-many-requests", Retry_After="1"),
    "told 500": _told(500, "error"),
    "told 503": _told(503, "storage-failed"),
}
"""Errors in artfs' own words, which only an artfs server can tell."""

FAULTS: dict[str, Fault] = {**LIES, **FAILURES, **TOLD, **HANGS}
