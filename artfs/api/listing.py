"""A sequence whose items are asked of the registry when they are looked at, a page at a time, and then kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar, overload

PAGE_ITEMS = 1000

T = TypeVar("T")
R = TypeVar("R")


class Listing(Sequence[T], Generic[T]):
    """What there was when it was first looked at. `len` asks for all that is left. Safe to use from several threads.

    Args:
        pages: read one by one, as far as needed.
    """

    def __init__(self, pages: Iterable[Iterable[T]]) -> None:
        self._pages = iter(pages)
        self._items: list[T] = []
        self._lock = threading.Lock()

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        self._load(index + 1 if isinstance(index, int) and index >= 0 else None)
        return self._items[index]

    def __len__(self) -> int:
        self._load(None)
        return len(self._items)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {list(self)!r}>"

    def _load(self, count: int | None) -> None:
        with self._lock:
            while count is None or len(self._items) < count:
                page = next(self._pages, None)
                if page is None:
                    return
                self._items.extend(page)


def pages_of(ask: Callable[[R | None], list[R]], make: Callable[[R], T]) -> Iterator[list[T]]:
    """Pages of what `ask` answers, given the last record of the page before: at most PAGE_ITEMS, fewer at the end."""
    last: R | None = None
    while True:
        records = ask(last)
        yield [make(record) for record in records]
        if len(records) < PAGE_ITEMS:
            return
        last = records[-1]
