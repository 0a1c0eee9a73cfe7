"""A logging handler whose lines are written by a thread of its own, so that a slow disk or a full pipe stops no request.

At most `LINES_MAX` lines wait; what comes beyond is counted and left out. A child that was forked begins its own thread. Owner of
the file: the thread; of the thread: the handler, under its lock.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from contextlib import suppress
from pathlib import Path

LINES_MAX = 10_000
CLOSE_S = 5.0
FILE_MODE = 0o640
_STDOUT = 1


class LineHandler(logging.Handler):
    """Appends messages to a file, or writes them to standard output."""

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = _STDOUT if path is None else os.open(path, flags, FILE_MODE)
        self._pid = 0
        self._lines: queue.Queue[bytes | None] = queue.Queue(LINES_MAX)
        self._thread: threading.Thread | None = None
        self.left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        if self._pid != os.getpid():
            self._begin()
        try:
            self._lines.put_nowait(record.getMessage().encode("utf-8", "backslashreplace") + b"\n")
        except queue.Full:
            self.left_out += 1

    def close(self) -> None:
        """Write what waits, within CLOSE_S."""
        if self._thread is not None and self._pid == os.getpid():
            with suppress(queue.Full):
                self._lines.put(None, timeout=CLOSE_S)
            self._thread.join(CLOSE_S)
            self._thread = None
        super().close()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lines = queue.Queue(LINES_MAX)
        self._thread = threading.Thread(target=self._write, name="artfs-access-log", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with suppress(OSError):  # nobody reads it any more, or the disk is full: requests are answered all the same
                os.write(self._fd, line)
