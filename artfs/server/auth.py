"""Whose request it is: bearer tokens, checked by the registry, believed for a moment; guesses are slowed.

Owner of the cache and the counters: the event loop. Tokens are kept as digests only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256

from cachetools import TTLCache
from starlette.requests import Request

from artfs.errors import NotAuthenticated, TooManyRequests
from artfs.server.settings import ServerSettings
from artfs.wire.http import TOKEN_SCHEME
from artfs.wire.records import Identity

TOKENS_MAX = 10_000
ADDRESSES_MAX = 10_000
TOKEN_CHARACTERS_MAX = 512

Check = Callable[[str], Awaitable[Identity]]
"""Ask the registry; raises NotAuthenticated."""


class Authenticator:
    """Identities by token."""

    def __init__(self, check: Check, settings: ServerSettings) -> None:
        self._check = check
        self._settings = settings
        self._known: TTLCache[bytes, Identity] = TTLCache(TOKENS_MAX, settings.token_life_s)
        self._guesses: TTLCache[str, int] = TTLCache(ADDRESSES_MAX, settings.guess_window_s, timer=time.monotonic)

    async def identify(self, request: Request) -> Identity:
        """Raises NotAuthenticated, alike for no token and for any that is not valid, and TooManyRequests."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != TOKEN_SCHEME.lower() or len(token) > TOKEN_CHARACTERS_MAX:
            token = ""
        name = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(name)
        if known is not None:
            return known
        try:
            identity = await self._check(token)
        except NotAuthenticated:
            await self._slow_down(request)
            raise
        self._known[name] = identity
        return identity

    async def _slow_down(self, request: Request) -> None:
        address = request.client.host if request.client else ""
        guesses = self._guesses.get(address, 0)
        settings = self._settings
        if guesses >= settings.guesses_max:
            raise TooManyRequests(
                "too many requests without a valid token", hint="try again later", retry_after_s=settings.guess_window_s
            )
        self._guesses[address] = guesses + 1
        await asyncio.sleep(min(settings.guess_delay_s * 2 ** min(guesses, 16), settings.guess_delay_s_max))
