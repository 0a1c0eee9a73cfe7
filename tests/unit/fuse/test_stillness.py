"""When an event loop is given up: it slept, was not run in between, and that at many looks in a row."""

from __future__ import annotations

import threading

import pytest

from artfs.fuse.stillness import LOOKS_MAX, Stillness, ThreadLook, look_at_thread

pytestmark = [pytest.mark.falsifies("no-end", "supervised")]

ASLEEP = ThreadLook("S", 1000)


def looks_until_still(looks: list[ThreadLook]) -> int | None:
    stillness = Stillness()
    return next((number for number, look in enumerate(looks) if stillness.is_still(look)), None)


def test_a_thread_that_sleeps_and_is_never_run_is_given_up_at_last() -> None:
    assert looks_until_still([ASLEEP] * 100) == LOOKS_MAX


def test_one_that_is_run_now_and_then_never_is() -> None:
    looks = [ThreadLook("S", number // LOOKS_MAX) for number in range(1000)]
    assert looks_until_still(looks) is None


@pytest.mark.parametrize("state", ["R", "D", "T", "t"])
def test_one_that_computes_or_is_held_never_is(state: str) -> None:
    assert looks_until_still([ThreadLook(state, 1000)] * 1000) is None


def test_one_that_was_held_in_between_begins_anew() -> None:
    looks = [ASLEEP] * LOOKS_MAX + [ThreadLook("T", 1000)] + [ASLEEP] * LOOKS_MAX
    assert looks_until_still(looks) is None


def test_a_thread_that_runs_is_seen_to_run() -> None:
    look = look_at_thread(threading.get_native_id())
    assert (look.state, look.switches > 0) == ("R", True)
