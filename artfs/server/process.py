"""The server's processes: one that serves, or one that watches over several which share a listening socket.

Each worker opens the registry itself, after the fork. SIGTERM and SIGINT stop gracefully: no new connections, requests under way
are finished, within a bound. A worker that dies is replaced; if workers die at once again and again, the server ends.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from artfs.errors import InvalidValue, StorageFailed
from artfs.registry.sql_registry import SqlRegistry
from artfs.server.settings import ServerSettings

BACKLOG = 1024
KEEP_ALIVE_S = 75
STOP_S = 20  # how long requests under way may take
HEADER_BYTES_MAX = 64 << 10
YOUNG_S = 5.0  # a worker that lived shorter than this has failed to start
YOUNG_DEATHS_MAX = 5

_log = logging.getLogger(__name__)

OpenRegistry = Callable[[], SqlRegistry]


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen.

    Attributes:
        address: `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`; port 0 takes a free one.
        certificate, key: PEM files; both or none.
    """

    address: str
    certificate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        """Raises InvalidValue."""
        _, colon, port = self.address.rpartition(":")
        numbered = port.isascii() and port.isdecimal() and len(port) < 6 and int(port) < 1 << 16
        if not self.address.startswith("unix:") and not (colon and numbered):
            raise InvalidValue(f"{self.address!r} is not an address", hint="write HOST:PORT or unix:PATH")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        host = self.address.rpartition(":")[0].strip("[]")
        return self.address.startswith("unix:") or host in ("localhost", "::1") or host.startswith("127.")

    def bind(self) -> socket.socket:
        """A listening socket. Raises InvalidValue, StorageFailed."""
        if self.address.startswith("unix:"):
            return _bind_unix(Path(self.address.removeprefix("unix:")))
        host, _, port = self.address.rpartition(":")
        try:
            family, _, _, _, address = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise StorageFailed(f"cannot listen on {self.address}: {reason}", hint="choose another address") from None
        return listening

    def url(self, listening: socket.socket) -> str:
        """How clients on this machine name the server."""
        if self.address.startswith("unix:"):
            return self.address
        host = self.address.rpartition(":")[0]
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{host}:{listening.getsockname()[1]}"


def _bind_unix(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()  # left by a server that was killed
        listening.bind(str(path))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise StorageFailed(f"cannot listen on {path}: {error.strerror}", hint="choose another path") from None
    return listening


def serve(
    open_registry: OpenRegistry, listen: Listen, listening: socket.socket, settings: ServerSettings, workers: int
) -> int:
    """Serve until stopped; the exit code. The database is of the current format already."""
    if workers == 1:
        return _work(open_registry, listen, listening, settings)
    with tempfile.TemporaryDirectory(prefix="artfs-metrics-") as metrics:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        return _Watch(lambda: _work(open_registry, listen, listening, settings), workers).run()


def _work(open_registry: OpenRegistry, listen: Listen, listening: socket.socket, settings: ServerSettings) -> int:
    import uvicorn  # after the fork, like everything that may keep threads

    from artfs.server.app import create_app

    class Server(uvicorn.Server):
        """uvicorn's, which tells requests that wait when it is about to stop."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            service = getattr(app.state, "service", None)
            if service is not None:
                service.stopping = True
            super().handle_exit(sig, frame)

    app = create_app(open_registry, settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        http="h11",  # bounds headers, and refuses what could be read in two ways
        ssl_certfile=listen.certificate or None,
        ssl_keyfile=listen.key or None,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopped)  # uvicorn raises what stopped it again when all is done
    server = Server(config)
    server.run(sockets=[listening])
    return 0 if server.started else 1


def _stopped(number: int, frame: FrameType | None) -> None:
    """The signal was acted on already."""


class _Watch:
    """Several workers, and their replacement. Owner of the table of children: the watching process."""

    def __init__(self, work: Callable[[], int], workers: int) -> None:
        self._work = work
        self._workers = workers
        self._children: dict[int, float] = {}
        self._stopping = False
        self._young_deaths = 0

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping and len(self._children) < self._workers:
            self._start()
        while self._children:
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:
                break
            began_s = self._children.pop(pid, None)
            if began_s is None or self._stopping:
                continue
            _log.error("worker %d ended; starting another", pid)
            self._young_deaths = self._young_deaths + 1 if time.monotonic() - began_s < YOUNG_S else 0
            if self._young_deaths > YOUNG_DEATHS_MAX:
                _log.error("workers end as soon as they begin; giving up")
                self._stop(signal.SIGTERM, None)
                return 1
            self._start()
        return 0

    def _start(self) -> None:
        pid = os.fork()
        if pid:
            self._children[pid] = time.monotonic()
            return
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            status = self._work()
        except BaseException:
            _log.exception("a worker failed")
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(status)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)
