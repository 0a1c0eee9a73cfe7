"""Whose request it is: bearer tokens, checked by the registry, believed for a moment; guesses are slowed.

After a few wrong tokens from one address, or for one token's id, further ones are refused unread until a delay has passed that
doubles each time. No request is held meanwhile: that would let guesses occupy the server. A token that was valid a while ago is
let through to the check, so nobody can lock out who is at work already.

Owner of the caches and the counters: the event loop. Tokens are kept as digests only. Each worker counts by itself.
"""

from __future__ import annotations

import re
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from cachetools import TTLCache
from starlette.requests import Request

from artfs.errors import NotAuthenticated, TooManyRequests
from artfs.model.access import token_of_api_key
from artfs.server.settings import ServerSettings
from artfs.wire.http import TOKEN_SCHEME
from artfs.wire.records import Identity

TOKENS_MAX = 10_000
GUESSED_MAX = 10_000  # addresses and ids
TOKEN_CHARACTERS_MAX = 512
IPV6_PREFIX = 64  # what one customer of a network usually has

_TOKEN_ID = re.compile(r"artfs_([0-9a-f]{1,64})_")

Check = Callable[[str], Awaitable[Identity]]
"""Ask the registry; raises NotAuthenticated."""


class _Guesses(NamedTuple):
    wrong: int
    wait_until_s: float


class Authenticator:
    """Identities by token."""

    def __init__(self, check: Check, settings: ServerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._settings = settings
        self._clock = clock
        self._known: TTLCache[bytes, Identity] = TTLCache(TOKENS_MAX, settings.token_life_s, timer=clock)
        self._trusted: TTLCache[bytes, None] = TTLCache(TOKENS_MAX, settings.token_memory_s, timer=clock)
        self._guessed: TTLCache[str, _Guesses] = TTLCache(GUESSED_MAX, settings.guess_memory_s, timer=clock)

    async def identify(self, request: Request) -> Identity:
        """Raises NotAuthenticated, alike for no token and for any that is not valid, and TooManyRequests."""
        token = _token_of(request.headers.get("authorization", ""))
        name = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(name)
        if known is not None:
            return known
        guessers = _guessers(request, token)
        if name not in self._trusted:
            self._refuse_early(guessers)
        try:
            identity = await self._check(token)
        except NotAuthenticated:
            self._trusted.pop(name, None)
            self._note(guessers)
            raise
        self._known[name] = identity
        self._trusted[name] = None
        return identity

    def _refuse_early(self, guessers: list[str]) -> None:
        now_s = self._clock()
        wait_s = (
            max((guesses.wait_until_s for who in guessers if (guesses := self._guessed.get(who))), default=0) - now_s
        )
        if wait_s > 0:
            raise TooManyRequests(
                "too many requests without a valid token", hint="check the token: artfs whoami", retry_after_s=wait_s
            )

    def _note(self, guessers: list[str]) -> None:
        settings = self._settings
        for who in guessers:
            count = self._guessed[who].wrong + 1 if who in self._guessed else 1
            beyond = count - settings.guesses_free
            delay_s = (
                min(settings.guess_delay_s * 2.0 ** min(beyond, 32), settings.guess_delay_s_max) if beyond >= 0 else 0
            )
            self._guessed[who] = _Guesses(count, self._clock() + delay_s)


def _token_of(header: str) -> str:
    """Empty for none, and for what cannot be one. As a password it is an API key: the same token without what is between."""
    scheme, _, given = header.partition(" ")
    if len(given) > TOKEN_CHARACTERS_MAX:
        return ""
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return token_of_api_key(b64decode(given, validate=True).decode().partition(":")[2])
        return ""
    return given.strip() if scheme.lower() == TOKEN_SCHEME.lower() else ""


def _guessers(request: Request, token: str) -> list[str]:
    """What a wrong token is held against: where it comes from, and the id it names."""
    found = [_network(request.client.host if request.client else "")]
    match = _TOKEN_ID.match(token)
    return [*found, f"id {match[1]}"] if match else found


def _network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ip_network((address.packed, IPV6_PREFIX), strict=False))
