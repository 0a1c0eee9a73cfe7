"""Ranges of packs to be read with one request each: neighbours that are wanted, and what is taken along with them."""

from __future__ import annotations

from collections.abc import Mapping

from artfs.model.digest import ObjectKey
from artfs.wire.records import Location

GAP_BYTES_MAX = 64 << 10  # read through a gap of at most this rather than ask twice
RANGE_BYTES_MAX = 8 << 20


class Span:
    """One range of a pack.

    Attributes:
        objects: what was asked for.
        extras: what else is in the range, and is taken along.
        window: the range that was widened for them, as (start, end).
    """

    __slots__ = ("end", "extras", "objects", "offset", "url", "window")

    def __init__(self, key: ObjectKey, location: Location) -> None:
        self.url = location.url
        self.offset = location.offset
        self.end = location.offset + location.stored_bytes
        self.objects = [(key, location)]
        self.extras: list[tuple[ObjectKey, Location]] = []
        self.window = (self.offset, self.end)

    def take(self, key: ObjectKey, location: Location) -> bool:
        """Grow by an object that follows closely; False if it does not."""
        end = location.offset + location.stored_bytes
        if (
            location.url != self.url
            or location.offset - self.end > GAP_BYTES_MAX
            or end - self.offset > RANGE_BYTES_MAX
        ):
            return False
        self.end = max(self.end, end)
        self.objects.append((key, location))
        return True


def coalesce(locations: Mapping[ObjectKey, Location]) -> list[Span]:
    """The ranges to read for `locations`: one for what lies close together in a pack."""
    spans: list[Span] = []
    for key, location in sorted(locations.items(), key=lambda item: (item[1].url, item[1].offset)):
        if not spans or not spans[-1].take(key, location):
            spans.append(Span(key, location))
    return spans
