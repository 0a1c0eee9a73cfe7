"""Not giving up at once at the end of a run: a server that restarts is back in seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from artfs.errors import RegistryUnavailable

LAST_TRIES_S = 15.0
PAUSE_S = 0.5
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def try_last(what: str, action: Callable[[], _T]) -> _T:
    """What `action` returns, tried again while the registry is out of reach. Raises what it raises, at last that too.

    Args:
        what: is not done yet, for the log.
    """
    deadline = time.monotonic() + LAST_TRIES_S
    said = False
    while True:
        try:
            return action()
        except RegistryUnavailable as error:
            if time.monotonic() + PAUSE_S >= deadline:
                raise
            if not said:
                _log.warning("%s: %s; trying again for %.0f s", what, error, LAST_TRIES_S)
                said = True
        time.sleep(PAUSE_S)
