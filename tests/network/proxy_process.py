"""The process behind `Proxy`: HOST PORT LATENCY_S BANDWIDTH as arguments, questions as lines of JSON on stdin, answers on stdout.

One event loop owns everything. Each direction of a connection is read into a bounded queue with the time when each piece is due,
so that latency delays bytes and does not thin them out. All connections share the bandwidth (bytes a second, each way; 0: no
limit), as they would share a line. Requests are read here, to be counted; answers pass through pipes (splice) unless a fault
changes them, and the loop is uvloop's: the proxy must not be the narrowest place of what is measured.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import uvloop

PIECE_BYTES = 256 << 10
QUEUE_PIECES = 64
PIPE_BYTES = 1 << 20  # the most that anybody may ask for

GATHER_S = 0.001  # how long bytes of an answer under way are gathered into one piece
LINES_MAX = 100_000


@dataclass
class Fault:
    """What goes wrong with requests whose first line holds `match`, `times` times (-1: always)."""

    kind: str
    match: str = ""
    times: int = -1
    number: int = 0
    text: str = ""

    def takes(self, line: str) -> bool:
        if self.times == 0 or self.match not in line:
            return False
        self.times -= self.times > 0
        return True


@dataclass
class State:
    """What all connections share."""

    host: str
    port: int
    latency_s: float
    bandwidth_bytes_s: float = 0.0
    fault: Fault | None = None
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    open: set[Connection] = field(default_factory=set)
    connections: int = 0
    bytes_to_client: int = 0
    bytes_to_server: int = 0
    lines: list[str] = field(default_factory=list)
    line_free_s: dict[bool, float] = field(
        default_factory=lambda: {True: 0.0, False: 0.0}
    )  # by upwards: when it is idle

    def due_s(self, now_s: float, size_bytes: int, *, upwards: bool) -> float:
        """When bytes that come now have gone over the line."""
        if not self.bandwidth_bytes_s:
            return now_s + self.latency_s
        self.line_free_s[upwards] = max(now_s, self.line_free_s[upwards]) + size_bytes / self.bandwidth_bytes_s
        return self.line_free_s[upwards] + self.latency_s

    def counts(self) -> dict[str, Any]:
        return {
            "connections": self.connections,
            "requests": len(self.lines),
            "bytes_to_client": self.bytes_to_client,
            "bytes_to_server": self.bytes_to_server,
            "lines": self.lines,
        }

    def reset_counts(self) -> None:
        self.connections = self.bytes_to_client = self.bytes_to_server = 0
        self.lines = []


class RequestParser:
    """Finds where requests begin in what a client sends; bodies by Content-Length or chunked."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._body_left = 0
        self._chunked = False

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """`data` in pieces: a whole head with its first line, or a part of a body with none."""
        while data:
            if self._body_left:
                part, data = data[: self._body_left], data[self._body_left :]
                self._body_left -= len(part)
                yield "", part
                continue
            self._head += data
            end = self._head.find(b"0\r\n\r\n" if self._chunked else b"\r\n\r\n")
            if end < 0:
                return
            end += 5 if self._chunked else 4
            head, data = bytes(self._head[:end]), bytes(self._head[end:])
            self._head.clear()
            if self._chunked:
                self._chunked = False
                yield "", head
                continue
            first, *rest = head.decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
            self._body_left = int(fields.get("content-length", 0))
            self._chunked = fields.get("transfer-encoding", "") == "chunked"
            yield first.rpartition(" ")[0], head


class Pipes:
    """Pipes that hold what is on its way: bytes go from socket to socket through them and never enter this process."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []

    def take(self) -> tuple[int, int]:
        """An empty pipe: where to read, where to write."""
        if self._free:
            return self._free.pop()
        reading, writing = os.pipe()
        with suppress(OSError):  # too many already: it stays a small one
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return reading, writing

    def give_back(self, pipe: tuple[int, int], *, empty: bool) -> None:
        if empty:
            self._free.append(pipe)
        else:
            for end in pipe:
                os.close(end)


PIPES = Pipes()


class Held:
    """A piece of an answer in a pipe."""

    def __init__(self, pipe: tuple[int, int], size_bytes: int) -> None:
        self._pipe = pipe
        self.left_bytes = size_bytes

    def read(self) -> bytes:
        data = b""
        while self.left_bytes and (part := os.read(self._pipe[0], self.left_bytes)):
            data += part
            self.left_bytes -= len(part)
        return data

    async def send(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while self.left_bytes:
            try:
                self.left_bytes -= os.splice(self._pipe[0], sock.fileno(), self.left_bytes, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                await ready(sock, loop.add_writer, loop.remove_writer)

    def close(self) -> None:
        PIPES.give_back(self._pipe, empty=not self.left_bytes)


Piece = bytes | Held
Line = asyncio.Queue[tuple[float, Piece]]


async def ready(sock: socket.socket, add: Callable[..., Any], remove: Callable[..., Any]) -> None:
    """Wait until a socket can be read, or written."""
    is_ready = asyncio.get_running_loop().create_future()

    def tell() -> None:
        if not is_ready.done():
            is_ready.set_result(None)

    add(sock.fileno(), tell)
    try:
        await is_ready
    finally:
        remove(sock.fileno())


class Connection:
    """One client, and its connection to the server."""

    def __init__(self, state: State, client: socket.socket) -> None:
        self._state = state
        self._client = client
        self._server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._parser = RequestParser()
        self._fault: Fault | None = None  # of the request under way
        self._answer_bytes = 0
        self._body_bytes = -1  # of the answer's body so far; -1 before its head has ended
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        state = self._state
        state.connections += 1
        state.open.add(self)
        self._task = asyncio.current_task()
        for sock in (self._client, self._server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await state.flowing.wait()
            await asyncio.get_running_loop().sock_connect(self._server, (state.host, state.port))
            await _first_of(
                self._pump(self._receive_upwards, self._send_upwards),
                self._pump(self._receive_downwards, self._send_downwards),
            )
        except OSError:
            pass
        finally:
            state.open.discard(self)
            for sock in (self._client, self._server):
                sock.close()

    def reset(self) -> None:
        """The connection ends with RST, at once."""
        for sock in (self._client, self._server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._task is not None:
            self._task.cancel()

    async def _pump(self, receive: Callable[[Line], Any], send: Callable[[Piece], Any]) -> None:
        """Until one side has ended, or a fault ends the connection."""
        line: Line = asyncio.Queue(QUEUE_PIECES)
        receiving = asyncio.ensure_future(receive(line))
        sending = asyncio.ensure_future(self._send(line, send))
        try:
            await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and receiving.exception() is None:
                await sending
        except OSError:
            pass
        finally:
            await _ended(receiving, sending)
            while not line.empty():
                piece = line.get_nowait()[1]
                if isinstance(piece, Held):
                    piece.close()

    async def _receive_upwards(self, line: Line) -> None:
        loop = asyncio.get_running_loop()
        data = b" "
        while data:
            data = await loop.sock_recv(self._client, PIECE_BYTES)
            await line.put((self._state.due_s(loop.time(), len(data), upwards=True), data))

    async def _receive_downwards(self, line: Line) -> None:
        """The first bytes after a pause at once, then what came meanwhile, now and then: few large pieces cost little."""
        loop = asyncio.get_running_loop()
        gather_s = min(GATHER_S, self._state.latency_s / 5)
        size_bytes = 1
        while size_bytes:
            pipe = PIPES.take()
            size_bytes = 0
            try:
                size_bytes = await _splice_in(self._server, pipe[1])
            finally:
                if not size_bytes:
                    PIPES.give_back(pipe, empty=True)
            piece = Held(pipe, size_bytes) if size_bytes else b""
            try:
                await line.put((self._state.due_s(loop.time(), size_bytes, upwards=False), piece))
            except asyncio.CancelledError:
                if isinstance(piece, Held):
                    piece.close()
                raise
            if gather_s:
                await asyncio.sleep(gather_s)

    async def _send(self, line: Line, send: Callable[[Piece], Any]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s, piece = await line.get()
            try:
                wait_s = due_s - loop.time()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                await self._state.flowing.wait()
                if not piece or not await send(piece):
                    return
            finally:
                if isinstance(piece, Held):
                    piece.close()

    async def _send_upwards(self, piece: Piece) -> bool:
        """What the server gets of what the client sends; False ends the connection."""
        assert isinstance(piece, bytes)
        passed = b""
        for line, part in self._parser.feed(piece):
            if line:
                self._begin(line)
            kind = "" if self._fault is None else self._fault.kind
            if kind == "reset":
                self.reset()
                return False
            if kind != "answer":
                passed += part
            elif line:
                await self._tell()
        self._state.bytes_to_server += len(passed)
        await asyncio.get_running_loop().sock_sendall(self._server, passed)
        return True

    def _begin(self, line: str) -> None:
        """A request comes."""
        state = self._state
        if len(state.lines) < LINES_MAX:
            state.lines.append(line)
        self._fault = state.fault if state.fault is not None and state.fault.takes(line) else None
        self._answer_bytes, self._body_bytes = 0, -1

    async def _tell(self) -> None:
        assert self._fault is not None
        told = self._fault.text.encode()
        self._state.bytes_to_client += len(told)
        await asyncio.get_running_loop().sock_sendall(self._client, told)

    async def _send_downwards(self, piece: Piece) -> bool:
        """What the client gets of what the server sends; False ends the connection."""
        assert isinstance(piece, Held)
        fault = self._fault
        before, self._answer_bytes = self._answer_bytes, self._answer_bytes + piece.left_bytes
        if fault is None or fault.kind not in ("lose", "cut", "flip"):
            self._state.bytes_to_client += piece.left_bytes
            await piece.send(self._client)
            return True
        if fault.kind == "lose":
            return False
        data, goes_on = piece.read(), True
        if fault.kind == "cut" and self._answer_bytes > fault.number:
            data, goes_on = data[: max(0, fault.number - before)], False
        if fault.kind == "flip":
            data = self._flipped(data, fault.number)
        self._state.bytes_to_client += len(data)
        await asyncio.get_running_loop().sock_sendall(self._client, data)
        return goes_on

    def _flipped(self, data: bytes, at: int) -> bytes:
        begin = 0
        if self._body_bytes < 0:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return data
            begin, self._body_bytes = end + 4, 0
        place = begin + at - self._body_bytes
        self._body_bytes += len(data) - begin
        if not begin <= place < len(data):
            return data
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


async def _splice_in(sock: socket.socket, pipe: int) -> int:
    """Bytes that a socket has into an empty pipe, as soon as there are any; 0 at the end."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return os.splice(sock.fileno(), pipe, PIPE_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            await ready(sock, loop.add_reader, loop.remove_reader)


async def _first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run them until the first has ended; the others are cancelled."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _ended(*tasks)


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def act(state: State, question: dict[str, Any]) -> dict[str, Any]:
    """Do what a line asks for, and what to answer."""
    do = question.pop("do")
    if do == "counts":
        return state.counts()
    if do == "reset_counts":
        state.reset_counts()
    elif do == "heal":
        state.fault = None
        state.flowing.set()
    elif question["kind"] == "stall":
        state.flowing.clear()
    else:
        state.flowing.set()
        state.fault = Fault(**question)
        if state.fault.kind == "reset" and not state.fault.match:
            for connection in list(state.open):
                connection.reset()
    return {}


async def main(host: str, port: int, latency_s: float, bandwidth_bytes_s: float) -> None:
    state = State(socket.gethostbyname(host), port, latency_s, bandwidth_bytes_s)
    state.flowing.set()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # pipes are many
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        listening.setblocking(False)
        accepting = asyncio.ensure_future(accept(state, listening))
        questions = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
        answer({"port": listening.getsockname()[1]})
        while line := await questions.readline():
            answer(act(state, json.loads(line)))
        await _ended(accepting)


async def accept(state: State, listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()
    while True:
        client, _ = await loop.sock_accept(listening)
        task = loop.create_task(Connection(state, client).run())
        running.add(task)
        task.add_done_callback(running.discard)


def answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
