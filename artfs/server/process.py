"""Listening, and serving in this process or in several workers (`workers`).

Each worker opens the registry itself, after the fork. SIGTERM and SIGINT stop gracefully: no new connections, requests under way
are finished, within a bound.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING

from artfs.errors import InvalidValue, StorageFailed
from artfs.registry.sql_registry import SqlRegistry
from artfs.server.settings import ServerSettings
from artfs.server.workers import Watch, in_child

if TYPE_CHECKING:
    from starlette.routing import Route

BACKLOG = 1024

OpenRegistry = Callable[[], SqlRegistry]
MoreRoutes = Callable[[], "Sequence[Route]"]
"""Routes of other interfaces, made after the fork."""


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

    def check_certificate(self) -> None:
        """Raises InvalidValue for a certificate and a key that TLS cannot use."""
        if not self.certificate:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except OSError as error:  # ssl.SSLError is one
            raise InvalidValue(
                f"the certificate {self.certificate} with the key {self.key} cannot be used: {error}",
                hint="give PEM files, the certificate as --tls-cert and its own key as --tls-key",
            ) from None

    def bind(self) -> socket.socket:
        """A listening socket. Raises StorageFailed."""
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


def prepare(open_registry: OpenRegistry, workers: int) -> None:
    """Open the registry once and close it: what is wrong with it is said, and its database is brought up to date.

    With several workers in a process of its own, since what some stores keep does not survive a fork.
    """
    if workers > 1:
        in_child(lambda: open_registry().close())
    else:
        open_registry().close()


def serve(
    open_registry: OpenRegistry,
    listen: Listen,
    listening: socket.socket,
    settings: ServerSettings,
    workers: int,
    more: MoreRoutes = lambda: (),
) -> int:
    """Serve until stopped; the exit code. The database is of the current format already. `more`: what is answered besides."""
    works: list[Callable[[], int]] = [lambda: _work(open_registry, listen, listening, settings, more)] * workers
    with ExitStack() as stack:
        if settings.metrics_listen:
            at = stack.enter_context(Listen(settings.metrics_listen).bind())
            works.append(lambda: _show_metrics(at, settings))
        if len(works) == 1:
            return works[0]()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(TemporaryDirectory(prefix="artfs-metrics-"))
        return Watch(works, settings.stop_s).run()


def _show_metrics(listening: socket.socket, settings: ServerSettings) -> int:
    """A process that answers with the numbers of all workers, and with nothing else."""
    import uvicorn

    from artfs.server.metrics import application

    config = uvicorn.Config(application(), log_config=None, access_log=False, server_header=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])
    return 0


def _work(
    open_registry: OpenRegistry, listen: Listen, listening: socket.socket, settings: ServerSettings, more: MoreRoutes
) -> int:
    import uvicorn  # after the fork, like everything that may keep threads

    from artfs.server.app import create_app
    from artfs.server.connection import connections_with

    class Server(uvicorn.Server):
        """uvicorn's, which tells requests that wait when it is about to stop."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            service = getattr(app.state, "service", None)
            if service is not None:
                service.stopping = True
            super().handle_exit(sig, frame)

    app = create_app(open_registry, settings, more())
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.stop_s,
        backlog=BACKLOG,
        forwarded_allow_ips=settings.trusted_proxy,
        h11_max_incomplete_event_size=settings.header_bytes_max,
        http=connections_with(settings),
        ws="none",
        ssl_certfile=listen.certificate or None,
        ssl_keyfile=listen.key or None,
    )
    server = Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)  # uvicorn's handlers replace these, and raise the signal again when all is done
    with suppress(SystemExit):
        server.run(sockets=[listening])
    return 0 if server.started else 1


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit
