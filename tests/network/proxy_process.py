"""The process behind `Proxy`: HOST PORT LATENCY_S BANDWIDTH as arguments, questions as lines of JSON on stdin, answers on stdout.

One event loop owns everything. Each direction of a connection is read into a bounded queue with the time when each piece is due,
so that latency delays bytes and does not thin them out. All connections share the bandwidth (bytes a second, each way; 0: no
limit), as they would share a line. uvloop, because asyncio's own loop would be the narrowest place of what is measured.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import uvloop

PIECE_BYTES = 256 << 10
QUEUE_PIECES = 64
BUFFER_BYTES = 1 << 20
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


class Connection:
    """One client, and its connection to the server."""

    def __init__(self, state: State, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._state = state
        self._client = (reader, writer)
        self._server_writer: asyncio.StreamWriter | None = None
        self._parser = RequestParser()
        self._fault: Fault | None = None  # of the request under way
        self._answer_bytes = 0
        self._body_bytes = -1  # of the answer's body so far; -1 before its head has ended

    async def run(self) -> None:
        state = self._state
        state.connections += 1
        state.open.add(self)
        try:
            await state.flowing.wait()
            reader, self._server_writer = await asyncio.open_connection(state.host, state.port, limit=BUFFER_BYTES)
            up = asyncio.ensure_future(self._pump(self._client[0], self._server_writer, upwards=True))
            down = asyncio.ensure_future(self._pump(reader, self._client[1], upwards=False))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        except OSError:
            pass
        finally:
            state.open.discard(self)
            for writer in (self._client[1], self._server_writer):
                if writer is not None:
                    writer.close()

    def reset(self) -> None:
        for writer in (self._client[1], self._server_writer):
            if writer is not None:
                sock = writer.get_extra_info("socket")
                if sock is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upwards: bool) -> None:
        """Until one side has ended, or a fault ends the connection."""
        change = self._upwards if upwards else self._downwards
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE_PIECES)
        receiving = asyncio.ensure_future(self._receive(reader, queue, upwards))
        sending = asyncio.ensure_future(self._send(queue, writer, change))
        try:
            await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and receiving.exception() is None:
                await sending
        except OSError:
            pass
        finally:
            receiving.cancel()
            sending.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)

    async def _receive(
        self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]], upwards: bool
    ) -> None:
        now_s = asyncio.get_running_loop().time
        data = b" "
        while data:
            data = await reader.read(PIECE_BYTES)
            await queue.put((self._state.due_s(now_s(), len(data), upwards=upwards), data))

    async def _send(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, change: Any) -> None:
        while True:
            due_s, data = await queue.get()
            await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
            await self._state.flowing.wait()
            if not data:
                return
            passed = change(data)
            if passed is None:
                return
            writer.write(passed)
            await writer.drain()

    def _upwards(self, data: bytes) -> bytes | None:
        """What the server gets of what the client sends; None ends the connection."""
        passed = b""
        for line, part in self._parser.feed(data):
            if line:
                self._begin(line)
            kind = "" if self._fault is None else self._fault.kind
            if kind == "reset":
                self.reset()
                return None
            if kind != "answer":
                passed += part
            elif line:
                self._tell()
        self._state.bytes_to_server += len(passed)
        return passed

    def _begin(self, line: str) -> None:
        """A request comes."""
        state = self._state
        if len(state.lines) < LINES_MAX:
            state.lines.append(line)
        self._fault = state.fault if state.fault is not None and state.fault.takes(line) else None
        self._answer_bytes, self._body_bytes = 0, -1

    def _tell(self) -> None:
        assert self._fault is not None
        told = self._fault.text.encode()
        self._state.bytes_to_client += len(told)
        self._client[1].write(told)

    def _downwards(self, data: bytes) -> bytes | None:
        """What the client gets of what the server sends; None ends the connection."""
        fault = self._fault
        if fault is not None and fault.kind == "lose":
            return None
        before, self._answer_bytes = self._answer_bytes, self._answer_bytes + len(data)
        if fault is not None and fault.kind == "cut" and self._answer_bytes > fault.number:
            kept = data[: max(0, fault.number - before)]
            self._state.bytes_to_client += len(kept)
            self._client[1].write(kept)
            return None
        if fault is not None and fault.kind == "flip":
            data = self._flipped(data, fault.number)
        self._state.bytes_to_client += len(data)
        return data

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
    state = State(host, port, latency_s, bandwidth_bytes_s)
    state.flowing.set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await Connection(state, reader, writer).run()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=BUFFER_BYTES)
    questions = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    answer({"port": server.sockets[0].getsockname()[1]})
    while line := await questions.readline():
        answer(act(state, json.loads(line)))


def answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
