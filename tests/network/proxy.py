"""A network between a client and a server that a test controls: it is slow, counts, and breaks in the ways networks break.

`Proxy.to(url)` starts `proxy_process` beside the test, since a proxy in the test's own process would share its interpreter lock
and be stopped with it. It forwards TCP, adds a latency each way, limits bandwidth if told to, and reads along to count requests.

    with Proxy.to(server.url, latency_s=0.010) as proxy:
        ...client of proxy.url...
        assert proxy.counts().requests <= 10
        proxy.stall()
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

START_S = 30.0
ANSWER_S = 30.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Counts:
    """What passed since the last reset. `lines` are the requests' first lines, without the protocol's version."""

    connections: int
    requests: int
    bytes_to_client: int
    bytes_to_server: int
    lines: tuple[str, ...]

    def with_path(self, part: str) -> int:
        """How many requests had `part` in their first line."""
        return sum(part in line for line in self.lines)


class Proxy:
    """A running proxy. Every fault lasts until `heal`, or for `times` requests."""

    def __init__(self, process: subprocess.Popen[str], scheme: str) -> None:
        self._process = process
        self._lock = threading.Lock()
        self.port = int(self._read()["port"])
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    @classmethod
    @contextmanager
    def to(cls, url: str, *, latency_s: float = 0.0, bandwidth_bytes_s: float = 0.0) -> Iterator[Proxy]:
        parts = urlsplit(url)
        command = [sys.executable, "-m", "tests.network.proxy_process", str(parts.hostname), str(parts.port)]
        command += [str(latency_s), str(bandwidth_bytes_s)]
        process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield cls(process, parts.scheme)
        finally:
            process.kill()
            process.wait(ANSWER_S)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def counts(self) -> Counts:
        found = self._ask(do="counts")
        return Counts(**{**found, "lines": tuple(found["lines"])})

    def reset_counts(self) -> None:
        self._ask(do="reset_counts")

    def heal(self) -> None:
        """Pass everything on again, also what was held back."""
        self._ask(do="heal")

    def stall(self) -> None:
        """A black hole: connections are accepted, nothing comes through."""
        self._ask(do="fault", kind="stall")

    def reset(self, *, match: str = "", times: int = -1) -> None:
        """Connections end with RST as soon as a request comes, and those that are open end now."""
        self._ask(do="fault", kind="reset", match=match, times=times)

    def cut(self, after_bytes: int, *, match: str = "", times: int = -1) -> None:
        """A connection ends after so many bytes of an answer."""
        self._ask(do="fault", kind="cut", match=match, times=times, number=after_bytes)

    def flip(self, at_byte: int, *, match: str = "", times: int = -1) -> None:
        """One bit of that byte after an answer's head arrives changed."""
        self._ask(do="fault", kind="flip", match=match, times=times, number=at_byte)

    def lose_answers(self, *, match: str = "", times: int = -1) -> None:
        """Requests arrive, and when the server answers the connection ends without the answer."""
        self._ask(do="fault", kind="lose", match=match, times=times)

    def answer(
        self,
        status: int,
        body: str = "<html><body>Bad gateway</body></html>",
        *,
        headers: str = "Content-Type: text/html\r\n",
        match: str = "",
        times: int = -1,
    ) -> None:
        """The proxy itself answers, as a gateway does whose server is gone."""
        head = f"HTTP/1.1 {status} Told by the proxy\r\n{headers}Content-Length: {len(body.encode())}\r\n\r\n"
        self._ask(do="fault", kind="answer", match=match, times=times, text=head + body)

    def pause(self) -> None:
        """The proxy's host stops (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _ask(self, **question: Any) -> dict[str, Any]:
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            return self._read()

    def _read(self) -> dict[str, Any]:
        """One line of the process, within ANSWER_S: it is ended if it does not say anything."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(ANSWER_S, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, "the proxy has ended"
        found: dict[str, Any] = json.loads(line)
        return found
