"""When a server that did not answer is asked again."""

from __future__ import annotations

import pytest

from artfs.client.remote.answers import tells_of_absence
from artfs.client.remote.breaker import FIRST_PAUSE_S, PAUSE_S_MAX, Breaker
from artfs.client.remote.connections import Answer

pytestmark = [pytest.mark.falsifies("no-hang")]


class Seconds:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_calls_pass_until_one_fails_and_then_none_for_a_moment() -> None:
    clock = Seconds()
    breaker = Breaker(clock)
    assert breaker.enter() is True
    clock.now_s += 1
    breaker.failed("gone", clock.now_s)
    assert breaker.enter() is False
    assert breaker.reason == "gone"
    clock.now_s += FIRST_PAUSE_S
    assert breaker.enter() is None
    assert breaker.enter() is False  # one probe at a time
    breaker.succeeded()
    assert breaker.enter() is True


def test_pauses_grow_to_a_bound() -> None:
    clock = Seconds()
    breaker = Breaker(clock)
    for _ in range(10):
        clock.now_s += PAUSE_S_MAX
        breaker.enter()
        breaker.failed("gone", clock.now_s)
        assert breaker.enter() is False
    clock.now_s += PAUSE_S_MAX
    assert breaker.enter() is None


def test_a_call_that_fails_late_is_no_news_when_another_has_succeeded_since() -> None:
    clock = Seconds()
    breaker = Breaker(clock)
    began_s = clock.now_s
    clock.now_s += 5
    breaker.succeeded()
    breaker.failed("no answer in time", began_s)
    assert breaker.enter() is True
    assert breaker.reason == ""


@pytest.mark.parametrize(
    ("status", "body", "is_gone"),
    [
        (502, b"<html>", True),
        (503, b'{"code": "registry-unavailable", "message": "no database"}', True),
        (503, b'{"code": "storage-failed", "message": "one bucket"}', False),  # names and lists are there all the same
        (500, b"<html>", False),
        (404, b"<html>", False),
    ],
)
def test_a_server_counts_as_gone_if_it_says_nothing_or_that_nothing_can_be_had(
    status: int, body: bytes, *, is_gone: bool
) -> None:
    kind = "application/json" if body.startswith(b"{") else "text/html"
    assert tells_of_absence(Answer(status, {"Content-Type": kind}, body)) == is_gone
