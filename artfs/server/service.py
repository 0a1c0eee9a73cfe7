"""What every request of one worker shares: the registry, the threads that ask it, who callers are, the change feed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

import anyio
from starlette.requests import Request
from starlette.responses import Response

from artfs.registry.guarded import GuardedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.server import change_feed
from artfs.server.auth import Authenticator
from artfs.server.errors import json_response
from artfs.server.settings import ServerSettings
from artfs.wire.records import Identity

_log = logging.getLogger(__name__)

READY_LIFE_S = 1.0
STOP_CHECK_S = 1.0  # how soon a waiting request notices that the server stops

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Service:
    """Made when a worker starts, closed when it ends."""

    def __init__(self, registry: SqlRegistry, settings: ServerSettings) -> None:
        self.registry = registry
        self.settings = settings
        self.stopping = False
        self.stop_check_s = STOP_CHECK_S
        self._threads = anyio.CapacityLimiter(settings.threads)
        self._upload_threads = anyio.CapacityLimiter(settings.upload_threads)
        self._authenticator = Authenticator(self._check, settings)
        self.feed = change_feed.ChangeFeed(self._position, settings.waiters_max)
        self._ready_at_s = -READY_LIFE_S
        self._closing: list[Callable[[], None]] = []

    async def run(self, function: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """Call the registry in a thread."""
        return await anyio.to_thread.run_sync(function, *args, limiter=self._threads)

    async def run_upload(self, function: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """The same for what takes long, so that it does not keep others waiting."""
        return await anyio.to_thread.run_sync(function, *args, limiter=self._upload_threads)

    async def caller(self, request: Request) -> tuple[Identity, GuardedRegistry]:
        """Whose request it is, and the registry as they may use it. Raises NotAuthenticated, TooManyRequests."""
        identity = await self._authenticator.identify(request)
        return identity, GuardedRegistry(self.registry, identity, page_bytes_max=self.settings.page_bytes_max)

    async def collect_regularly(self) -> None:
        """Delete what expired, now and then, until cancelled. Of all workers of all servers one at a time does."""
        every_s = self.settings.collect_every_s
        while every_s:
            await asyncio.sleep(every_s)
            try:
                await anyio.to_thread.run_sync(self.registry.collection.try_round, every_s, lambda: self.stopping)
            except Exception:
                _log.exception("collecting what expired failed; it is tried again")

    async def check_ready(self) -> None:
        """Raises ArtfsError unless database and storage answer."""
        if time.monotonic() - self._ready_at_s > READY_LIFE_S:
            await self.run(self._ask_all)
            self._ready_at_s = time.monotonic()

    @staticmethod
    def json(value: Any) -> Response:
        return json_response(value)

    def at_close(self, close: Callable[[], None]) -> None:
        """Have something closed before the registry is."""
        self._closing.append(close)

    def close(self) -> None:
        for close in reversed(self._closing):
            close()
        self.registry.close()

    def _ask_all(self) -> None:
        self.registry.changes.position()
        self.registry.resources.store.check()

    async def _check(self, token: str) -> Identity:
        return await self.run(self.registry.access.tokens.authenticate, token)

    async def _position(self) -> int:
        return await self.run(self.registry.changes.position)
