"""The draft that a session uploads into: opened when first needed, renewed in time, replaced when it expired.

Owner of the current draft, under a lock of its own, so that the thread that packs and the thread that sends agree on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from artfs.errors import DraftNotFound
from artfs.wire.records import DraftRecord
from artfs.wire.service import Registry

RENEW_BEFORE_NS = 12 * 3600 * 10**9

_T = TypeVar("_T")


class DraftLease:
    """One draft after another of `project`. Safe to use from several threads.

    Args:
        clock_ns: nanoseconds since the epoch, as the registry's.
    """

    def __init__(self, registry: Registry, project: str, clock_ns: Callable[[], int]) -> None:
        self._drafts = registry.drafts
        self._project = project
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._draft: DraftRecord | None = None

    @property
    def draft(self) -> DraftRecord:
        """The draft that everything goes into now."""
        with self._lock:
            if self._draft is None:
                self._draft = self._drafts.open(self._project)
            return self._draft

    def run(self, call: Callable[[str], _T]) -> _T:
        """`call` with the id of a live draft; once more, with the id of a new one, when the draft has expired.

        What an expired draft held and no version does may be gone from the registry: who refers to it gets ObjectMissing.
        """
        draft = self.draft
        if self._clock_ns() > draft.expires_at_ns - RENEW_BEFORE_NS:
            self.renew()
        draft = self.draft
        try:
            return call(draft.id)
        except DraftNotFound:
            return call(self._replace(draft).id)

    def renew(self) -> None:
        """Extend the draft's life; when it has expired, go on with another that holds nothing yet."""
        with self._lock:
            draft = self._draft
        if draft is None:
            return
        try:
            renewed = self._drafts.renew(draft.id)
        except DraftNotFound:
            self._replace(draft)
            return
        with self._lock:
            if self._draft is not None and self._draft.id == draft.id:
                self._draft = renewed

    def abandon(self) -> None:
        """End the draft if there is one; what only it held is deleted."""
        with self._lock:
            draft, self._draft = self._draft, None
        if draft is not None:
            self._drafts.abandon(draft.id)

    def _replace(self, expired: DraftRecord) -> DraftRecord:
        with self._lock:
            if self._draft is None or self._draft.id == expired.id:
                self._draft = self._drafts.open(self._project)
            return self._draft
