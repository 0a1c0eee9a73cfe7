"""Tree pages of a registry far away, several at once."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from artfs.model.digest import Digest
from artfs.wire.records import Location


class FarPage(NamedTuple):
    """A tree page as a registry far away sent it, and where it is, with its times. Not verified."""

    digest: Digest
    data: bytes
    place: Location


class FarPages(Protocol):
    """A registry that sends tree pages, with those below them."""

    def pages(self, project: str, digest: Digest) -> list[FarPage]:
        """None if it does not. Raises Unavailable."""
