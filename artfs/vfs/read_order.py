"""Whether the files of a directory are read one after another, as tar, cp, diff and rsync do, and how many to fetch at once then.

A hop to a thread and a request to storage cost more than reading a small file, so in-order readers get a growing batch with
one. Whoever reads at random gets exactly what was asked for. Pure; owner: the event loop.
"""

from __future__ import annotations

from typing import NamedTuple

from cachetools import LRUCache

from artfs.vfs.page_numbers import PageKey

BATCH_FIRST = 8
BATCH_MAX = 64
GAP_MAX = 4  # entries that an in-order reader may pass over: directories, links, files it has already
PAGES_MAX = 1024


class _Run(NamedTuple):
    """What was fetched of a page last: up to the position `end`, so many entries."""

    end: int
    entries: int


class ReadOrder:
    """Remembers where each page was read last."""

    def __init__(self) -> None:
        self._runs: LRUCache[PageKey, _Run] = LRUCache(PAGES_MAX)
        self._in_order = False

    def batch(self, page: PageKey, position: int) -> int:
        """How many entries of `page`, from `position` on, to fetch for a reader of the file at `position`.

        Called only for files that are not in memory; what a batch brought is not asked for again.
        """
        run = self._runs.get(page)
        if run is not None and run.end <= position <= run.end + GAP_MAX:
            count = min(max(BATCH_FIRST, 2 * run.entries), BATCH_MAX)
        elif run is None and self._in_order and position <= GAP_MAX:
            count = BATCH_FIRST  # the walk goes on in the next directory
        else:
            count = 1
        self._in_order = count > 1
        self._runs[page] = _Run(position + count, count)
        return count
