"""When a mount that died is begun again."""

from __future__ import annotations

import pytest

from artfs.fuse.restarts import AT_ONCE, DELAY_MAX_S, SETTLED_S, TRIES_MAX, Restarts

pytestmark = [pytest.mark.falsifies("supervised")]


def test_a_mount_that_was_usable_is_begun_again_at_once_however_often() -> None:
    restarts = Restarts()
    assert [restarts.delay_after(SETTLED_S) for _ in range(1000)] == [0.0] * 1000


def test_one_that_dies_at_once_is_begun_later_and_later_and_at_last_not_at_all() -> None:
    restarts = Restarts()
    delays = [restarts.delay_after(0.0) for _ in range(TRIES_MAX)]
    assert delays == [0, 0, 0, 0, 0, 0.25, 0.5, 1, 2, 4, 8, 16, DELAY_MAX_S, DELAY_MAX_S]
    assert restarts.delay_after(0.0) is None


def test_one_that_was_usable_in_between_begins_the_count_anew() -> None:
    restarts = Restarts()
    for _ in range(TRIES_MAX):
        restarts.delay_after(0.0)
    assert restarts.delay_after(SETTLED_S) == 0
    assert [restarts.delay_after(0.0) for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
