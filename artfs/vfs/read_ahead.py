"""Large files read in order: what is fetched before it is asked for, so that readers wait for the line once, not for each chunk.

Decides, purely but for the queue: two reads in a row make an order (the kernel's requests overtake each other, so a little to and
fro is one). Then the next WINDOW_BYTES_FIRST are wanted, and a multiple of what was read in order, up to WINDOW_BYTES_MAX, which
is more than a fast line holds at once. So a file of which only the head is read costs little, and whoever jumps begins anew.

What is fetched ahead and not read yet is at most AHEAD_BYTES_MAX, well below what memory holds, so nothing in use is displaced. A
window ends so far from where the reader stands, so fetching stops when the reader does; what waits for a file that was closed,
or in which the reader jumped, is dropped. Who waits for something else comes first: while anybody does, one piece at a time is
fetched.

Owner of all of it: the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from artfs.model.recipe import ChunkSpan, Recipe

WINDOW_BYTES_FIRST = 4 << 20
WINDOW_BYTES_MAX = 32 << 20
WINDOW_GROWTH = 8  # times what was read in order
IN_ORDER_BYTES = 64 << 10  # read in order before anything is fetched ahead
OVERTAKEN_BYTES = 2 << 20  # so far from where the reader should go on may a request of the kernel be
PIECE_BYTES = 4 << 20  # fetched at once
AHEAD_BYTES_MAX = 64 << 20  # of all readers, not read yet
TASKS = 8


class Stream:
    """One open file, as its reader goes through it.

    Attributes:
        position: where a reader in order goes on.
        end: up to where chunks were asked for.
    """

    __slots__ = ("closed", "end", "in_order_bytes", "position")

    def __init__(self) -> None:
        self.position = self.end = 0
        self.in_order_bytes = 0
        self.closed = False

    def read(self, offset: int, size_bytes: int) -> bool:
        """Note a read. Returns whether it is one of a row."""
        if abs(offset - self.position) > OVERTAKEN_BYTES or (not self.in_order_bytes and offset != self.position):
            self.in_order_bytes = 0
            self.position = self.end = offset + size_bytes
            return False
        self.in_order_bytes += size_bytes
        self.position = max(self.position, offset + size_bytes)
        self.end = max(self.end, self.position)
        return self.in_order_bytes > IN_ORDER_BYTES

    @property
    def window_bytes(self) -> int:
        return min(max(WINDOW_BYTES_FIRST, WINDOW_GROWTH * self.in_order_bytes), WINDOW_BYTES_MAX)


@dataclass(slots=True)
class Piece:
    """Chunks in a row, to be fetched at once. `start` and `end` are the bytes of the file that they hold."""

    stream: Stream
    chunks: list[ChunkSpan]
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start

    @property
    def is_wanted(self) -> bool:
        """Whether the reader may still come to it."""
        stream = self.stream
        return not stream.closed and stream.position - OVERTAKEN_BYTES < self.end <= stream.end


def plan(stream: Stream, recipe: Recipe, spare_bytes: int) -> list[Piece]:
    """The pieces that the stream's window lacks, of at most `spare_bytes` in all; its end moves behind them."""
    target = min(stream.position + stream.window_bytes, recipe.size_bytes)
    if target - stream.end < min(PIECE_BYTES, stream.window_bytes // 2) and target < recipe.size_bytes:
        return []
    pieces: list[Piece] = []
    for span in recipe.spans(stream.end, target - stream.end):
        if span.start < stream.end and not pieces:
            stream.end = span.start + span.size_bytes  # being read: it was asked for already
            continue
        if span.size_bytes > spare_bytes:
            break
        spare_bytes -= span.size_bytes
        if not pieces or pieces[-1].size_bytes + span.size_bytes > PIECE_BYTES:
            pieces.append(Piece(stream, [], span.start, span.start))
        pieces[-1].chunks.append(span)
        stream.end = pieces[-1].end = span.start + span.size_bytes
    if len(pieces) > 1 and pieces[-1].size_bytes < PIECE_BYTES // 2 and stream.end < recipe.size_bytes:
        stream.end = pieces.pop().start  # for the next time, when it is a whole one
    return pieces


@dataclass
class ReadAhead:
    """The pieces that wait, and those that were fetched and not read yet."""

    waiting: deque[tuple[Piece, Callable[[Piece], Awaitable[None]]]] = field(default_factory=deque)
    unread: deque[Piece] = field(default_factory=deque)
    under_way: int = 0
    others_waiting: int = 0  # reads that wait for what is not fetched ahead
    _changed: trio.Event = field(default_factory=trio.Event)

    def follow(self, stream: Stream, recipe: Recipe, fetch: Callable[[Piece], Awaitable[None]]) -> None:
        """The reader has gone on in order: have `fetch` called for what it will want."""
        self._settle()
        spare_bytes = AHEAD_BYTES_MAX - sum(piece.size_bytes for piece in self.unread)
        for piece in plan(stream, recipe, spare_bytes):
            self.unread.append(piece)
            self.waiting.append((piece, fetch))
        self._tell()

    def is_coming(self, stream: Stream, offset: int) -> bool:
        """Whether the bytes of a file at `offset` are being fetched ahead, or will be."""
        return any(piece.stream is stream and piece.start <= offset < piece.end for piece in self.unread)

    def _settle(self) -> None:
        """Forget the pieces that were read, or will not be."""
        wanted = [piece for piece in self.unread if piece.is_wanted and piece.end > piece.stream.position]
        self.unread = deque(wanted)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def run(self) -> None:
        """Fetch until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            while not self.waiting or (self.others_waiting and self.under_way):
                await self._changed.wait()
            piece, fetch = self.waiting.popleft()
            if not piece.is_wanted:
                continue
            self.under_way += 1
            try:
                await fetch(piece)
            finally:
                self.under_way -= 1
                self._tell()

    @contextmanager
    def others_first(self) -> Iterator[None]:
        """Somebody waits for what is not being fetched ahead."""
        self.others_waiting += 1
        try:
            yield
        finally:
            self.others_waiting -= 1
            self._tell()
