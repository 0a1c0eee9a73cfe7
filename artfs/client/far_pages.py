"""Tree pages of a registry far away: sent several at once, and the times that only the registry knows, remembered here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from artfs.model.digest import Digest
from artfs.wire.records import Location


class Dates(NamedTuple):
    """When a tree page entered its project, and its entries: see `wire.times`."""

    created_at_ns: int
    times: bytes


class PageDates(Protocol):
    """The dates of tree pages, kept where asking for them needs no registry. Never blocks for long, never fails."""

    def dates(self, project: str, digest: Digest) -> Dates | None: ...
    def keep_dates(self, project: str, pages: Mapping[Digest, Dates]) -> None: ...


class FarPage(NamedTuple):
    """A tree page as a registry far away sent it, and where it is, with its times. Not verified."""

    digest: Digest
    data: bytes
    place: Location


class FarPages(Protocol):
    """A registry that sends tree pages, with those below them."""

    def pages(self, project: str, digest: Digest) -> list[FarPage]:
        """None if it does not. Raises Unavailable."""
