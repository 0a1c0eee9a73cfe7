"""Which objects were asked for when something was started, in order: what a start is, and what becomes of it.

A start is what a project's readers ask for in the WATCH_S after a time of quiet: the pages and files of a program, say. The next
time one of its first objects must be fetched, the start has begun again, and the rest of it is worth fetching before it is
asked for. Content tells, not names: whatever a new version of a program shares with the one that was learned is known by its
digest. Objects that several starts in a row did without are dropped. Who asks for more than a program has (a reader of a
whole data set) does not start anything, and nothing is learned of that.

Names are not content: a start that begins with tree pages, as `ls` does, has its pages fetched, and its content only when content
of it is asked for.

Owner of everything mutable: its lock, under which nothing else is called.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.wire.records import Location

WATCH_S = 10.0
QUIET_S = 20.0  # nothing was asked for in so long: what comes then may be a start
OBJECTS_MIN = 4  # of a start worth remembering
OBJECTS_MAX = 4096
BYTES_MAX = 64 << 20  # of all objects of a start
HEADS = 32  # of each kind: any of these says that a start has begun
UNUSED_MAX = 3  # starts in a row without an object, after which it is dropped
STARTS_MAX = 64  # the latest are kept


class Learned(msgspec.Struct, array_like=True, frozen=True):
    """An object of a start: its key, where it was, and how many starts have done without it since."""

    kind: int
    digest: bytes
    place: Location | None
    unused: int = 0


class Start(msgspec.Struct, array_like=True, frozen=True):
    """What was asked for, in this order. `name` stays the same as it changes."""

    name: str
    project: str
    objects: list[Learned]


Name = tuple[str, ObjectKey]
Places = Callable[[str, list[ObjectKey]], dict[ObjectKey, Location]]
"""Where objects of a project are, of those for which it is known without asking."""


class _Watch:
    """A project's readers, since they were quiet last. The clock begins with the first content."""

    def __init__(self) -> None:
        self.last_s = 0.0
        self.asked: dict[ObjectKey, None] = {}
        self.known: dict[str, ObjectKind] = {}  # starts that were seen to begin, and how far they are followed
        self.has_content = False
        self.is_over = False


class Starts:
    """Watches what is asked for, and knows what was asked for before.

    Args:
        known: what was learned before, the latest last.
        keep: told each start that was learned.
        bytes_max: of the objects of one start: what may be fetched ahead for it.
    """

    def __init__(
        self,
        known: Iterable[Start] = (),
        keep: Callable[[Start], None] = lambda _: None,
        *,
        bytes_max: int = BYTES_MAX,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bytes_max = bytes_max
        self.is_watching = False  # whether anything is still being learned
        self._keep = keep
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._watches: dict[str, _Watch] = {}
        self._starts: dict[str, Start] = {}
        self._heads: dict[Name, set[str]] = {}
        for start in known:
            self._add(start)

    def noted(self, project: str, keys: Iterable[ObjectKey]) -> bool:
        """Somebody asks for `keys`. Returns whether that is the first content, so that `finish` is to follow in WATCH_S."""
        now_s = self._monotonic_s()
        with self._lock:
            watch = self._watches.get(project)
            if watch is None or (watch.is_over and now_s - watch.last_s > QUIET_S):
                watch = self._watches[project] = _Watch()
                self.is_watching = True
            watch.last_s = now_s
            if watch.is_over or len(watch.asked) > OBJECTS_MAX:
                return False
            watch.asked.update(dict.fromkeys(keys))
            had_content = watch.has_content
            watch.has_content = had_content or any(key.kind is not ObjectKind.TREE for key in keys)
            return watch.has_content and not had_content

    def begun(self, project: str, keys: Iterable[ObjectKey]) -> list[Learned]:
        """What is worth fetching now that `keys` must be: the rest of starts that begin with one of them. Each is told once."""
        with self._lock:
            watch = self._watches.get(project)
            if watch is None or not self._heads:
                return []
            found: dict[tuple[int, bytes], Learned] = {}
            for key in keys:
                for name in self._heads.get((project, key), ()):
                    told = watch.known.get(name)
                    if told is ObjectKind.CHUNK or (told is not None and key.kind is ObjectKind.TREE):
                        continue
                    pages_only = key.kind is ObjectKind.TREE
                    watch.known[name] = ObjectKind.TREE if pages_only else ObjectKind.CHUNK
                    found.update(self._objects(name, pages_only=pages_only))
            return list(found.values())

    def pages(self, project: str, key: ObjectKey) -> list[Learned]:
        """The tree pages of starts that begin with this one."""
        with self._lock:
            names = self._heads.get((project, key), ())
            return list(dict(item for name in names for item in self._objects(name, pages_only=True)).values())

    def _objects(self, name: str, *, pages_only: bool) -> Iterator[tuple[tuple[int, bytes], Learned]]:
        for one in self._starts[name].objects:
            if not pages_only or one.kind == ObjectKind.TREE:
                yield (one.kind, one.digest), one

    def is_going_on(self, project: str, quiet_s: float) -> bool:
        """Whether anything was asked for in the last `quiet_s`."""
        with self._lock:
            watch = self._watches.get(project)
            return watch is not None and self._monotonic_s() - watch.last_s < quiet_s

    def finish(self, project: str, places: Places) -> None:
        """A watch is over: what it saw is learned."""
        with self._lock:
            watch = self._watches.get(project)
            if watch is None or watch.is_over:
                return
            watch.is_over = True
            self.is_watching = not all(other.is_over for other in self._watches.values())
            asked, has_content = list(watch.asked), watch.has_content
            begun = [self._starts[name] for name, kind in watch.known.items() if kind is ObjectKind.CHUNK]
        if not has_content or not OBJECTS_MIN <= len(asked) <= OBJECTS_MAX:
            return
        learned = learned_of(project, asked, places(project, asked), begun)
        if sum(one.place.size_bytes for one in learned.objects if one.place is not None) > self.bytes_max:
            return
        with self._lock:
            for start in begun:
                self._remove(start)
            self._add(learned)
        self._keep(learned)

    def finish_all(self, places: Places) -> None:
        for project in list(self._watches):
            self.finish(project, places)

    def _add(self, start: Start) -> None:
        self._remove(start)
        self._starts[start.name] = start
        for key in _heads(start):
            self._heads.setdefault((start.project, key), set()).add(start.name)
        while len(self._starts) > STARTS_MAX:
            self._remove(next(iter(self._starts.values())))

    def _remove(self, start: Start) -> None:
        held = self._starts.pop(start.name, None)
        for key in () if held is None else _heads(held):
            names = self._heads.get((start.project, key), set())
            names.discard(start.name)
            if not names:
                self._heads.pop((start.project, key), None)


def learned_of(project: str, asked: list[ObjectKey], places: dict[ObjectKey, Location], before: list[Start]) -> Start:
    """A start that asked for this, after `before`, of which what was not asked for now is kept for a while. Pure."""
    known: dict[tuple[int, bytes], Learned] = {(o.kind, o.digest): o for s in before for o in s.objects}
    objects = []
    for key in asked:
        old = known.pop((key.kind, bytes(key.digest)), None)
        place = places.get(key) or (None if old is None else old.place)
        objects.append(Learned(key.kind, bytes(key.digest), None if place is None else _kept(place)))
    unused = (msgspec.structs.replace(o, unused=o.unused + 1) for o in known.values() if o.unused < UNUSED_MAX)
    objects.extend(islice(unused, max(0, OBJECTS_MAX - len(objects))))
    name = before[0].name if before else f"{project} {asked[0]}"
    return Start(name, project, objects)


def _kept(place: Location) -> Location | None:
    """A place to remember: not one whose URL is signed, which is soon no longer valid. Times are remembered elsewhere."""
    return None if "?" in place.url else msgspec.structs.replace(place, times=b"")


def _heads(start: Start) -> Iterator[ObjectKey]:
    """The first objects of a start, by kind: names and content begin by themselves."""
    for pages in (True, False):
        of_kind = (o for o in start.objects if (o.kind == ObjectKind.TREE) is pages)
        for one in islice(of_kind, HEADS):
            yield ObjectKey(ObjectKind(one.kind), Digest(one.digest))
