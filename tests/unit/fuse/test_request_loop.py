"""Tasks that take turns at reading: one at a time, none asleep while there is something to read."""

from __future__ import annotations

import os
import random

import pytest
import trio
import trio.testing

from artfs.fuse.request_loop import AT_ONCE, Descriptor, Turn


class Source:
    """Requests that tasks take in turns, as pyfuse3's tasks do; some of them come late, and some take long."""

    def __init__(self, seed: int, requests: int) -> None:
        self.turn = Turn()
        self.left = requests
        self.reading = 0
        self.answered: list[int] = []
        self._random = random.Random(seed)

    async def work(self, number: int, requests_max: int) -> None:
        for _ in range(requests_max):
            async with self.turn:
                self.reading += 1
                assert self.reading == 1
                if self._random.random() < 0.3:
                    await trio.lowlevel.checkpoint()
                self.reading -= 1
                if not self.left:
                    return
                self.left -= 1
            if self._random.random() < 0.3:
                await trio.sleep(self._random.random())
            self.answered.append(number)


@pytest.mark.parametrize("seed", range(20))
async def test_every_request_is_answered_though_tasks_wait_and_end(seed: int, autojump_clock: object) -> None:
    source = Source(seed, requests=200)
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            for number in range(6):
                most = 1000 if number == 5 else 3 + number
                nursery.start_soon(source.turn.run, source.work(number, most))
    assert len(source.answered) == 200


async def test_whoever_need_not_wait_goes_on_and_others_follow_when_it_waits(autojump_clock: object) -> None:
    turn, order = Turn(), []

    async def quick() -> None:
        async with turn:
            await trio.testing.wait_all_tasks_blocked()
            order.append("quick")
        for _ in range(2):
            async with turn:
                order.append("quick")
        await trio.sleep(1)
        order.append("awake")

    async def other() -> None:
        async with turn:
            order.append("other")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn.run, quick())
        await trio.lowlevel.checkpoint()
        nursery.start_soon(turn.run, other())
    assert order == ["quick", "quick", "quick", "other", "awake"]


async def test_a_task_that_is_cancelled_in_line_or_in_its_turn_leaves_it_to_others(autojump_clock: object) -> None:
    turn = Turn()
    done: list[object] = []

    async def hold() -> None:
        with trio.move_on_after(1):
            async with turn:
                await trio.sleep_forever()
        await trio.sleep(10)

    async def give_up() -> None:
        with trio.move_on_after(0.5):
            async with turn:
                done.append("never")

    async def wait() -> None:
        async with turn:
            done.append(trio.current_time() - begin)

    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for task in (hold, give_up, wait):
            nursery.start_soon(turn.run, task())
            await trio.testing.wait_all_tasks_blocked()
    assert done == [1.0]


async def test_an_error_thrown_into_a_waiting_task_reaches_it() -> None:
    turn, seen = Turn(), []

    async def work() -> None:
        try:
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
        except trio.Cancelled:
            seen.append("cancelled")
            raise

    with trio.move_on_after(0):
        await turn.run(work())
    assert seen == ["cancelled"]


async def test_other_tasks_run_although_there_is_always_something_to_read() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"x")
        descriptor, others = Descriptor(), 0
        run = True

        async def other() -> None:
            nonlocal others
            while run:
                others += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(10 * AT_ONCE):
                await descriptor.wait_readable(reader)
            run = False
        assert 8 <= others <= 40
        os.read(reader, 1)
        with trio.move_on_after(0.01) as scope:
            await descriptor.wait_readable(reader)
        assert scope.cancelled_caught
    finally:
        os.close(reader)
        os.close(writer)
