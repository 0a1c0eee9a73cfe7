"""Signed URLs that a server handed out, remembered for a while. Who wants one that another thread asks for waits for that.

Owner of what is remembered and asked for: `_lock`, which is not held while a server is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from cachetools import TTLCache

from artfs.errors import ArtfsError, ReferenceUnavailable

URL_LIFE_S = 600.0  # they are good for an hour, mostly; one that expires earlier is asked for again
URLS_BYTES = 8 << 20


class SignedUrls:
    """By the path of a file on its server. Safe from any thread.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._known: TTLCache[str, str] = TTLCache(URLS_BYTES, URL_LIFE_S, clock, lambda url: 200 + 2 * len(url))
        self._asking: dict[str, Future[str]] = {}

    def get(self, path: str, ask: Callable[[], str]) -> str:
        """The one that is known, or what `ask` returns. Raises what that raises."""
        with self._lock:
            known = self._known.get(path)
            if known is not None:
                return known
            asked = self._asking.get(path)
            mine = self._asking[path] = Future() if asked is None else asked
        if asked is not None:
            return asked.result()
        try:
            url = ask()
            with self._lock:
                self._known[path] = url
            mine.set_result(url)
            return url
        except ArtfsError as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._asking[path]
            if not mine.done():
                mine.set_exception(ReferenceUnavailable("another thread that asked for it was stopped"))

    def forget(self, path: str, url: str) -> None:
        """It is good no more. Does nothing if another is known by now."""
        with self._lock:
            if self._known.get(path) == url:
                del self._known[path]
