"""Fetching the rest of a start that has begun, before it is asked for: few ranges, in the order of use, by a few threads.

It takes no place of what is in use: what it brings enters memory only while that is half empty, and comes to at most a share
of the cache. It stops when readers have stopped, and pauses while most of what it brought has not been asked for: this may be
another program than the one that was learned. While a start is known, nothing else is read ahead of those who read it. Who
needs something of a range that nobody has begun yet fetches that range: no byte comes twice.

Owner of everything mutable: its lock, never held while anything is fetched, and of the timers another one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from artfs.client.learned.starts import WATCH_S, Learned, Starts
from artfs.client.pack_source import PackVanished
from artfs.client.spans import Span
from artfs.errors import ArtfsError
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.vfs.ports import Bytes
from artfs.wire.records import Location

THREADS = 6
PIECE_BYTES = 512 << 10  # one range: small, since its first object waits for its last
GAP_BYTES_MAX = 256 << 10  # read through rather than ask twice: what a round trip is worth
STOP_S = 2.0  # readers that ask for nothing in so long have stopped
CLOSE_S = 5.0  # what is being fetched may take
PROVING_BYTES = 8 << 20  # fetched before it is asked whether any of it was of use
USED_SHARE_MIN = 0.25  # of what was fetched; with less, nothing more is fetched until there is more of it
PAUSE_S = 0.02

Claimed = dict[ObjectKey, Future[Bytes]]
_log = logging.getLogger(__name__)


class Fetching(Protocol):
    """What an `ObjectReader` does for it."""

    def places(self, project: str, keys: Sequence[ObjectKey], *, ask: bool) -> dict[ObjectKey, Location]:
        """Where objects are stored, of those for which it is known; `ask` asks for the rest."""

    def lacking(self, project: str, keys: Sequence[ObjectKey]) -> Iterable[ObjectKey]:
        """Those of `keys` that are not on this machine."""

    def claim(self, project: str, span: Span) -> Claimed:
        """Let others wait for what a span takes along."""

    def take_along(self, project: str, span: Span, claimed: Claimed) -> None:
        """Fetch it."""


class Replay:
    """Watches what is asked for, and fetches what follows. Closed before the reader is."""

    def __init__(self, starts: Starts, fetching: Fetching) -> None:
        self._starts = starts
        self._fetching = fetching
        self._lock = threading.Lock()
        self._timers: dict[str, threading.Timer] = {}
        self._timers_lock = threading.Lock()  # `used` may take it under the reader's lock, which is taken under `_lock`
        self._threads: list[threading.Thread] = []
        self._queue: deque[tuple[str, Span]] = deque()  # some of them fetched by who needed them first
        self._waiting: dict[tuple[str, ObjectKey], Span] = {}  # those that nobody has begun to fetch
        self._is_closed = False
        self._fetched_bytes = self._used_bytes = 0
        self._foreseen: set[tuple[str, ObjectKey]] = set()  # all that the starts that have begun are made of
        self._brought: dict[tuple[str, ObjectKey], int] = {}  # bytes of what was fetched ahead and not asked for yet

    def asked(self, project: str, keys: Sequence[ObjectKey]) -> None:
        """Somebody needs `keys`, which may be anywhere."""
        if self._starts.noted(project, keys):
            self._end_later(project)

    def used(self, project: str, key: ObjectKey) -> None:
        """What is at hand is asked for. Quick, and calls nobody: nothing to do, mostly."""
        if self._brought:
            self._used_bytes += self._brought.pop((project, key), 0)
        if self._starts.is_watching:
            self.asked(project, (key,))

    def missed(self, project: str, keys: Sequence[ObjectKey]) -> None:
        """Somebody is about to fetch `keys`: begin to fetch what will be asked for next, and fetch the ranges they are in."""
        self._fetch(project, self._starts.begun(project, keys))
        for key in keys if self._waiting else ():
            with self._lock:
                span = self._waiting.get((project, key))
                claimed = None if span is None else self._take(project, span)
            if span is not None and claimed is not None:
                self._take_along(project, span, claimed)

    def foresees(self, project: str, keys: Iterable[ObjectKey]) -> bool:
        """Whether all of `keys` belong to a start that has begun: then what follows them is known, and not guessed."""
        with self._lock:
            return bool(self._foreseen) and all((project, key) in self._foreseen for key in keys)

    def foresee(self, project: str, root: Digest) -> None:
        """A version with this root will perhaps be read: fetch the names that were read of it, and no content."""
        self._fetch(project, self._starts.pages(project, ObjectKey(ObjectKind.TREE, root)))

    def _fetch(self, project: str, learned: Sequence[Learned]) -> None:
        if not learned:
            return
        try:
            pieces = self._pieces(project, learned)
        except ArtfsError as error:  # whoever reads meets it again, and is told
            _log.debug("not fetched ahead: %s", error)
            return
        with self._lock:
            self._foreseen.update((project, ObjectKey(ObjectKind(one.kind), Digest(one.digest))) for one in learned)
            for span in pieces:
                self._queue.append((project, span))
                self._waiting.update({(project, key): span for key, _ in span.extras})
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for _ in range(min(THREADS - len(self._threads), len(pieces))):
                thread = threading.Thread(target=self._work, name="artfs-start", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the machine has none to give: who needs the pieces fetches them
                    break
                self._threads.append(thread)

    def close(self) -> None:
        """Learn what was seen until now, and stop."""
        with self._timers_lock:
            self._is_closed = True
            timers = list(self._timers.values())
            self._timers.clear()
        with self._lock:
            threads = self._threads
        for timer in timers:
            timer.cancel()
        for thread in threads:
            thread.join(CLOSE_S)
        self._starts.finish_all(self._known_places)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._threads.remove(threading.current_thread())
                    return
                project, span = self._queue[0]
                goes_on = self._goes_on(project)
                may_take = not goes_on or self._is_proven
                claimed = None
                if may_take:
                    self._queue.popleft()
                    is_waiting = any(self._waiting.get((project, key)) is span for key, _ in span.extras)
                    claimed = self._take(project, span) if is_waiting and goes_on else None
                    if is_waiting and claimed is None:
                        self._drop(project, span)
                        self._foreseen.difference_update((project, key) for key, _ in span.extras)
            if claimed is not None:
                self._take_along(project, span, claimed)
            elif not may_take:
                time.sleep(PAUSE_S)

    def _take(self, project: str, span: Span) -> Claimed:
        """Claim a range that waits. Under the lock, so that whoever does not find it waiting finds it claimed."""
        self._drop(project, span)
        return self._fetching.claim(project, span)

    def _drop(self, project: str, span: Span) -> None:
        for key, _ in span.extras:
            if self._waiting.get((project, key)) is span:
                del self._waiting[project, key]

    def _take_along(self, project: str, span: Span, claimed: Claimed) -> None:
        try:
            self._fetching.take_along(project, span, claimed)
            with self._lock:
                brought = {(project, key): place.size_bytes for key, place in span.extras}
                self._brought.update(brought)
                self._fetched_bytes += sum(brought.values())
        except (ArtfsError, PackVanished, OSError) as error:  # its readers were told to fetch it themselves
            _log.debug("not fetched ahead: %s", error)

    @property
    def _is_proven(self) -> bool:
        """Whether so much of what was fetched has been asked for that more may be."""
        return self._fetched_bytes < PROVING_BYTES or self._used_bytes >= USED_SHARE_MIN * self._fetched_bytes

    def _goes_on(self, project: str) -> bool:
        return not self._is_closed and self._starts.is_going_on(project, STOP_S)

    def _pieces(self, project: str, learned: Sequence[Learned]) -> list[Span]:
        """What of a start must be fetched, in ranges; those that are needed first come first."""
        order = {ObjectKey(ObjectKind(one.kind), Digest(one.digest)): one for one in learned}
        lacking = set(self._fetching.lacking(project, list(order)))
        known = {key: one.place for key, one in order.items() if key in lacking and one.place is not None}
        unknown = [key for key in order if key in lacking and key not in known]
        located = {**known, **(self._fetching.places(project, unknown, ask=True) if unknown else {})}
        left_bytes = self._starts.bytes_max
        wanted: dict[ObjectKey, Location] = {}
        for key in order:
            place = located.get(key)
            if place is not None and place.size_bytes <= left_bytes:
                left_bytes -= place.size_bytes
                wanted[key] = place
        return pieces_of(wanted)

    def _known_places(self, project: str, keys: list[ObjectKey]) -> dict[ObjectKey, Location]:
        return self._fetching.places(project, keys, ask=False)

    def _end_later(self, project: str) -> None:
        timer = threading.Timer(WATCH_S, self._end, (project,))
        timer.daemon = True
        with self._timers_lock:
            if self._is_closed:
                return
            self._timers[project] = timer
        timer.start()

    def _end(self, project: str) -> None:
        with self._timers_lock:
            self._timers.pop(project, None)
        with self._lock:
            self._foreseen = {name for name in self._foreseen if name[0] != project}
        self._starts.finish(project, self._known_places)


def pieces_of(wanted: Mapping[ObjectKey, Location]) -> list[Span]:
    """Ranges of at most about PIECE_BYTES that hold all of `wanted`, which is in order of use; as is what is returned. Pure."""
    rank = {key: number for number, key in enumerate(wanted)}
    spans: list[Span] = []
    for key, place in sorted(wanted.items(), key=lambda item: (item[1].url, item[1].offset)):
        last, end = spans[-1] if spans else None, place.offset + place.stored_bytes
        if (
            last is not None
            and last.url == place.url
            and end - last.offset <= PIECE_BYTES
            and place.offset - last.end <= GAP_BYTES_MAX
        ):
            last.end = max(last.end, end)
            last.objects.append((key, place))
        else:
            spans.append(Span(key, place))
    for span in spans:
        span.extras, span.objects = span.objects, []
    return sorted(spans, key=lambda span: min(rank[key] for key, _ in span.extras))
