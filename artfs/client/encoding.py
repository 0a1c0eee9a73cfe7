"""Small files read, hashed and compressed by a process of their own.

A mount that answers requests and hashes files in one interpreter does both slowly: each waits for the other's lock, and making
small files through the mount took a quarter longer. The process knows no registry and holds no secrets: it is given
paths of files and gives back what is to be packed. Whatever goes wrong with it, or with a file, costs only that the caller reads
the
file itself, and so learns what is wrong. It ends when it is not used for a while, and when the one who started it is no more.

Frames: a request is the length of a msgpack list of paths and the list; an answer the lengths of a msgpack list of rows (None for
a file that was not read) and of the stored bytes, and both.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from artfs.client.source_file import SmallFile, read_small
from artfs.errors import ArtfsError
from artfs.model import codec
from artfs.model.digest import Digest

IDLE_S = 20.0
ANSWER_S_MAX = 60.0
_REQUEST = struct.Struct("<I")
_ANSWER = struct.Struct("<IQ")
COMMAND = (sys.executable, "-P", "-c", "from artfs.client.encoding import serve; serve()")


class _Row(msgspec.Struct, array_like=True):
    digest: bytes
    size_bytes: int
    codec: int
    stored_bytes: int
    mtime_ns: int
    ctime_ns: int


class EncodedFile(NamedTuple):
    """A small file as it is to be stored, and its times when it was read."""

    digest: Digest
    size_bytes: int
    codec: int
    stored: memoryview
    mtime_ns: int
    ctime_ns: int


class EncodingProcess:
    """Started by the first `read`, with `command`. Owner: one thread at a time; `close` it."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def read(self, paths: Sequence[str]) -> list[EncodedFile | None]:
        """The files, all of them in memory at once; None for each that is too large or could not be read as it is."""
        request = msgspec.msgpack.encode([os.fsencode(path) for path in paths])
        for _ in range(2):  # the process may just have ended, since nobody had used it
            try:
                line = self._line or self._start()
                line.sendall(_REQUEST.pack(len(request)) + request)
                return _answer(line)
            except (OSError, EOFError, msgspec.DecodeError):
                self.close()
        return [None] * len(paths)

    def close(self) -> None:
        """End the process. Repeatable."""
        process, self._process = self._process, None
        line, self._line = self._line, None
        if line is not None:
            line.close()
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> socket.socket:
        line, theirs = socket.socketpair()
        try:
            line.settimeout(ANSWER_S_MAX)
            self._process = subprocess.Popen(
                self._command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            line.close()
            raise
        finally:
            theirs.close()
        self._line = line
        return line


def serve() -> None:
    """The process: answers what comes through its standard input."""
    line = socket.socket(fileno=os.dup(0))
    line.settimeout(IDLE_S)
    with line, suppress(OSError, EOFError):
        while True:
            (length,) = _REQUEST.unpack(_received(line, _REQUEST.size))
            paths = msgspec.msgpack.decode(_received(line, length), type=list[bytes])
            rows, stored = _encode(paths)
            table = msgspec.msgpack.encode(rows)
            data = b"".join(stored)
            line.sendall(_ANSWER.pack(len(table), len(data)) + table)
            line.sendall(data)


def _encode(paths: list[bytes]) -> tuple[list[_Row | None], list[bytes | memoryview]]:
    rows: list[_Row | None] = []
    stored: list[bytes | memoryview] = []
    for path in paths:
        try:
            found = read_small(os.fsdecode(path))
        except (ArtfsError, OSError):
            rows.append(None)
            continue
        rows.append(_row(found, stored))
    return rows, stored


def _row(found: SmallFile, stored: list[bytes | memoryview]) -> _Row:
    how, data = codec.encode(found.data)
    stored.append(data)
    _, mtime_ns, ctime_ns, _, _ = found.signature
    return _Row(bytes(found.digest), len(found.data), how, len(data), mtime_ns, ctime_ns)


def _answer(line: socket.socket) -> list[EncodedFile | None]:
    table_bytes, data_bytes = _ANSWER.unpack(_received(line, _ANSWER.size))
    rows = msgspec.msgpack.decode(_received(line, table_bytes), type=list[_Row | None])
    data = memoryview(_received(line, data_bytes))
    files: list[EncodedFile | None] = []
    start = 0
    for row in rows:
        if row is None:
            files.append(None)
            continue
        stored = data[start : start + row.stored_bytes]
        start += row.stored_bytes
        digest = Digest(row.digest)
        files.append(EncodedFile(digest, row.size_bytes, row.codec, stored, row.mtime_ns, row.ctime_ns))
    return files


def _received(line: socket.socket, length: int) -> bytearray:
    """Exactly so many bytes. Raises EOFError when the other side is gone."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        got = line.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
    return data
