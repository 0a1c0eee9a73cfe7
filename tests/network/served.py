"""The real server over a registry, in a thread of the test, so that both can share a clock that the test moves.

For tests of what is asked and answered. Those of processes, signals and options start `artfs serve`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.routing import Route

from artfs.model.access import Scope
from artfs.registry.sql_registry import SqlRegistry
from artfs.server.app import create_app
from artfs.server.settings import ServerSettings

START_S = 30.0


@contextmanager
def served(
    open_registry: Callable[[], SqlRegistry], settings: ServerSettings | None = None, more: Sequence[Route] = ()
) -> Iterator[str]:
    """The URL of a server over what `open_registry` opens. `more` is answered besides."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        app = create_app(open_registry, settings or ServerSettings(), more)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", http="h11", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_S)
            assert not thread.is_alive()


def admin_token(registry: SqlRegistry, name: str = "admin") -> str:
    """The token of a new user who may do everything."""
    registry.access.users.create(name, admin=True)
    return registry.access.tokens.create(name, "", [Scope.ADMIN]).secret


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline_s = time.monotonic() + START_S
    while not server.started:
        assert thread.is_alive(), "the server has ended"
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
