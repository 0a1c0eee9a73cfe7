"""Answers in memory: for a moment in the place of questions, and for long where the server is out of reach.

An answer is fresh for FRESH_S. A question may be part of a wider one, as one version is of the list of all: then the answer
that was asked for later counts, so that no name goes back to what it meant earlier. What was not there is remembered while fresh,
what is denied is forgotten. Owner of the answers: a lock, never held during I/O.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sized
from typing import Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar

from cachetools import LRUCache

from artfs.errors import AccessDenied, NotFound, Unavailable
from artfs.vfs.ports import NotRemembered

FRESH_S = 5.0
RECORDS_MAX = 200_000  # about 1 KB each
STRIPES = 64

_T = TypeVar("_T")


class Part(NamedTuple, Generic[_T]):
    """How to find the answer in that to a wider question; `find` returns None if it is not in there, which decides nothing."""

    whole: Hashable
    find: Callable[[Any], _T | None]


class Recall(Protocol):
    """What answers a question: from memory, or by calling `ask`, or not at all."""

    def __call__(self, question: Hashable, ask: Callable[[], _T], part: Part[_T] | None = None) -> _T: ...


class _Answer(NamedTuple):
    """`value` may be the NotFound that was raised. Times are of the monotonic clock."""

    value: Any
    asked_at_s: float
    fresh_until_s: float
    size: int

    def told(self) -> Any:
        if isinstance(self.value, NotFound):
            _raise_again(self.value)
        return self.value


class Memory:
    """Safe from any thread; `peek` never blocks, and may be called on an event loop.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, *, fresh_s: float = FRESH_S, records_max: int = RECORDS_MAX, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fresh_s = fresh_s
        self._records_max = records_max
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: LRUCache[Hashable, _Answer] = LRUCache(records_max, getsizeof=lambda answer: answer.size)
        self._asking = [threading.Lock() for _ in range(STRIPES)]  # one thread at a time asks a question

    def recall(self, question: Hashable, ask: Callable[[], _T], part: Part[_T] | None = None) -> _T:
        """The answer while it is fresh; else what `ask` returns; if that raises Unavailable, the last answer of any age."""
        fresh = self._newest(question, part, fresh_only=True)
        if fresh is None:
            with self._asking[hash(question) % STRIPES]:
                fresh = self._newest(question, part, fresh_only=True)
                if fresh is None:
                    return self._asked(question, ask, part)
        value: _T = fresh.told()
        return value

    def peek(self, question: Hashable, ask: Callable[[], _T], part: Part[_T] | None = None) -> _T:
        """The answer while it is fresh. Raises NotRemembered; `ask` is not called."""
        fresh = self._newest(question, part, fresh_only=True)
        if fresh is None:
            raise NotRemembered
        value: _T = fresh.told()
        return value

    def _asked(self, question: Hashable, ask: Callable[[], _T], part: Part[_T] | None) -> _T:
        asked_at_s = self._clock()
        try:
            value = ask()
        except NotFound as error:
            self._learn(question, error, asked_at_s)
            raise
        except AccessDenied:
            with self._lock:
                self._answers.pop(question, None)
            raise
        except Unavailable:
            last = self._newest(question, part, fresh_only=False)
            if last is None or isinstance(last.value, NotFound):
                raise
            kept: _T = last.value
            return kept
        self._learn(question, value, asked_at_s)
        return value

    def _learn(self, question: Hashable, value: Any, asked_at_s: float) -> None:
        size = min(1 + len(value) if isinstance(value, Sized) else 1, self._records_max)
        with self._lock:
            self._answers[question] = _Answer(value, asked_at_s, self._clock() + self._fresh_s, size)

    def _newest(self, question: Hashable, part: Part[_T] | None, *, fresh_only: bool) -> _Answer | None:
        with self._lock:
            own = self._answers.get(question)
            whole = None if part is None else self._answers.get(part.whole)
        if part is not None and whole is not None and not isinstance(whole.value, NotFound):
            found = part.find(whole.value)
            if found is not None and (own is None or own.asked_at_s < whole.asked_at_s):
                own = whole._replace(value=found)
        return None if own is None or (fresh_only and own.fresh_until_s <= self._clock()) else own


def _raise_again(error: NotFound) -> NoReturn:
    """Another one: an exception that is raised keeps where it was raised, of all times that it was."""
    raise type(error)(error.message, hint=error.hint)
