"""Large files read in order are fetched ahead: soon, within bounds, no longer than somebody reads, and after who waits."""

from __future__ import annotations

import trio
import trio.testing

from artfs.model.digest import Digest
from artfs.model.recipe import Recipe, decode_recipe, encode_recipe
from artfs.vfs.read_ahead import (
    AHEAD_BYTES_MAX,
    PIECE_BYTES,
    TASKS,
    WINDOW_BYTES_FIRST,
    WINDOW_BYTES_MAX,
    Piece,
    ReadAhead,
    Stream,
    plan,
)

MIB = 1 << 20
READ_BYTES = 128 << 10


def recipe_of(chunks: int) -> Recipe:
    pairs = [(Digest.of(b"%d" % i), MIB) for i in range(chunks)]
    return decode_recipe(encode_recipe(Digest.of(b"whole"), pairs))


def read(stream: Stream, begin: int, end: int, *, step: int = READ_BYTES) -> bool:
    return [stream.read(offset, step) for offset in range(begin, end, step)][-1]


def ends(pieces: list[Piece]) -> list[tuple[int, int]]:
    return [(piece.start, piece.end) for piece in pieces]


def test_the_second_read_in_a_row_begins_a_window() -> None:
    stream = Stream()
    assert not stream.read(0, 4096)
    assert stream.read(4096, READ_BYTES)
    assert sum(piece.size_bytes for piece in plan(stream, recipe_of(100), AHEAD_BYTES_MAX)) >= WINDOW_BYTES_FIRST - MIB


def test_reads_here_and_there_begin_none() -> None:
    stream = Stream()
    assert not any(stream.read(number * 50 * MIB, READ_BYTES) for number in (3, 1, 4, 1, 5, 9, 2, 6))


def test_requests_that_overtake_each_other_are_in_order() -> None:
    stream = Stream()
    places = [0, 1, 3, 2, 4, 6, 5, 7]
    assert all([stream.read(number * READ_BYTES, READ_BYTES) for number in places][1:])


def test_what_is_planned_follows_on_without_gaps_and_never_twice() -> None:
    stream, recipe = Stream(), recipe_of(300)
    pieces: list[Piece] = []
    for begin in range(0, 300 * MIB, MIB):
        read(stream, begin, begin + MIB)
        pieces += plan(stream, recipe, AHEAD_BYTES_MAX)
        assert stream.end <= stream.position + WINDOW_BYTES_MAX
    assert [piece.start for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]
    assert pieces[-1].end == recipe.size_bytes
    assert all(piece.size_bytes <= PIECE_BYTES for piece in pieces)
    assert len(pieces) <= 1.2 * recipe.size_bytes / PIECE_BYTES


def test_a_reader_that_stands_still_has_nothing_more_fetched() -> None:
    stream, recipe = Stream(), recipe_of(300)
    read(stream, 0, 20 * MIB)
    assert plan(stream, recipe, AHEAD_BYTES_MAX)
    assert stream.end <= 20 * MIB + WINDOW_BYTES_MAX
    assert plan(stream, recipe, AHEAD_BYTES_MAX) == []


def test_a_jump_makes_what_waits_unwanted_and_begins_anew() -> None:
    stream, recipe = Stream(), recipe_of(300)
    read(stream, 0, 20 * MIB)
    before = plan(stream, recipe, AHEAD_BYTES_MAX)
    assert not stream.read(200 * MIB, READ_BYTES)
    assert not any(piece.is_wanted for piece in before)
    assert stream.read(200 * MIB + READ_BYTES, READ_BYTES)
    assert plan(stream, recipe, AHEAD_BYTES_MAX)[0].start >= 200 * MIB


class Fetched:
    """What was fetched, of which each waits until it is let go."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.under_way = self.most = 0
        self.gate = trio.Event()

    async def fetch(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.gate.wait()
        self.under_way -= 1


async def test_all_readers_together_have_a_bounded_amount_fetched() -> None:
    ahead, fetched, recipe = ReadAhead(), Fetched(), recipe_of(300)
    fetched.gate.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ahead.run)
        for _ in range(20):
            stream = Stream()
            read(stream, 0, 20 * MIB)
            ahead.follow(stream, recipe, fetched.fetch)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert AHEAD_BYTES_MAX - 2 * MIB < sum(piece.size_bytes for piece in fetched.pieces) <= AHEAD_BYTES_MAX


async def test_what_waits_for_a_file_that_was_closed_is_dropped() -> None:
    ahead, fetched, stream = ReadAhead(), Fetched(), Stream()
    read(stream, 0, 20 * MIB)
    async with trio.open_nursery() as nursery:
        ahead.follow(stream, recipe_of(300), fetched.fetch)
        stream.closed = True
        nursery.start_soon(ahead.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert fetched.pieces == []


async def test_while_somebody_waits_for_something_else_one_piece_at_a_time_is_fetched() -> None:
    ahead, fetched, stream = ReadAhead(), Fetched(), Stream()
    read(stream, 0, 20 * MIB)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ahead.run)
        with ahead.others_first():
            ahead.follow(stream, recipe_of(300), fetched.fetch)
            await trio.testing.wait_all_tasks_blocked()
            assert fetched.under_way == 1
        await trio.testing.wait_all_tasks_blocked()
        assert fetched.under_way == TASKS
        fetched.gate.set()
        nursery.cancel_scope.cancel()
