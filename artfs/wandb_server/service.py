"""What all requests of one worker share, and what one request may do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from artfs.client.client import Client
from artfs.client.threads import Threads
from artfs.client.upload import UploadSession
from artfs.registry.guarded import GuardedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.store.durable import DIRECTORY_MODE, reported
from artfs.wandb_server.contents import Contents
from artfs.wandb_server.signing import Signer, load_key
from artfs.wandb_server.state import State
from artfs.wandb_server.uploads import Uploads
from artfs.wire.records import Identity
from artfs.wire.service import Registry

UPLOAD_THREADS = 3  # hash, cut and compress, for all uploads of a worker together


class WandbService:
    """Made when a worker starts, closed when it ends.

    Args:
        registry: open to everything: callers are checked before. Closed by its owner.
        open_client: how stored files are read.
        directory: where what is not the registry's is kept.
        public_url: where clients reach the server; empty for what their requests say.
    """

    def __init__(
        self, registry: SqlRegistry, open_client: Callable[[Registry], Client], directory: Path, public_url: str = ""
    ) -> None:
        for path in (directory, directory / "uploads", directory / "run-files"):
            with reported("make", path):
                path.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        self.registry = registry
        self.directory = directory
        self.public_url = public_url.rstrip("/")
        self.signer = Signer(load_key(directory / "url-key"))
        self.state = State(directory / "state.db")
        self.client = open_client(registry)
        self.contents = Contents(self.state, self.client)
        self.uploads = Uploads(self.state, directory / "uploads")
        self._threads = Threads(UPLOAD_THREADS, "artfs-upload")
        self.uploads.clean(time.time())

    def session(self, registry: Registry, project: str) -> UploadSession:
        """An upload into the registry, as whoever `registry` is for. Close, seal or abandon it."""
        return UploadSession(registry, project, time.time_ns, self._threads)

    def close(self) -> None:
        self.client.uploads.close()
        self.client.objects.close()
        self.client.references.close()
        self._threads.shutdown()
        self.state.close()


@dataclass(frozen=True, slots=True)
class Caller:
    """One request: who makes it, and where the server is for it.

    Attributes:
        base_url: without a slash at its end.
    """

    service: WandbService
    identity: Identity
    registry: GuardedRegistry
    base_url: str

    @property
    def user(self) -> str:
        return self.identity.user.name
