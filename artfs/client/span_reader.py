"""Reading a range of a pack: one request, and each object in it decoded and checked against its digest.

A damaged answer is asked for once more. Damage to what nobody asked for is only left out.
"""

from __future__ import annotations

import logging
import threading

from artfs.client.pack_source import PackSource
from artfs.client.spans import Span
from artfs.errors import ArtfsError, DamagedObject, DamagedPack
from artfs.model import codec
from artfs.model.digest import Digest, ObjectKey
from artfs.vfs.ports import Bytes
from artfs.wire.records import Location

APART_BYTES = 128 << 10  # objects of at least this on average are received apart

_log = logging.getLogger(__name__)


class SpanReader:
    """Attributes:
    ranges, bytes: read so far.
    """

    def __init__(self, packs: PackSource) -> None:
        self._packs = packs
        self._lock = threading.Lock()
        self.ranges = self.bytes = 0

    def read(self, span: Span) -> tuple[dict[ObjectKey, Bytes], dict[ObjectKey, Bytes]]:
        """What was asked for, and what of the extras is sound. Raises DamagedObject or DamagedPack if that stays damaged."""
        try:
            return self._decode_span(span)
        except (DamagedObject, DamagedPack) as damaged:
            _log.warning("reading again: %s", damaged)
            return self._decode_span(span)

    def _decode_span(self, span: Span) -> tuple[dict[ObjectKey, Bytes], dict[ObjectKey, Bytes]]:
        if not span.extras and span.end - span.offset >= APART_BYTES * len(span.objects):
            return self._decode_apart(span), {}
        data = memoryview(self._packs.read(span.url, span.offset, span.end - span.offset))
        self._count(len(data))
        found: dict[ObjectKey, Bytes] = {}
        extras: dict[ObjectKey, Bytes] = {}
        alone = len(span.objects) + len(span.extras) == 1  # otherwise a view would keep the whole range in memory
        for key, location in span.objects:
            decoded = verified(key, location, _stored(data, span, location))
            found[key] = decoded if alone or isinstance(decoded, bytes) else bytes(decoded)
        for key, location in span.extras:
            try:
                extras[key] = bytes(verified(key, location, _stored(data, span, location)))
            except ArtfsError as damaged:
                _log.warning("not taken along: %s", damaged)
        return found, extras

    def _decode_apart(self, span: Span) -> dict[ObjectKey, Bytes]:
        """Large objects, each into memory of its own: without a copy, and what is dropped later frees its memory."""
        pieces = self._packs.read_pieces(span.url, [(place.offset, place.stored_bytes) for _, place in span.objects])
        self._count(span.end - span.offset)
        return {
            key: verified(key, location, piece) for (key, location), piece in zip(span.objects, pieces, strict=True)
        }

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self.ranges += 1
            self.bytes += size_bytes


def verified(key: ObjectKey, location: Location, stored: Bytes) -> Bytes:
    """Decode an object's stored bytes and check its digest. Raises DamagedObject naming object and place."""
    try:
        data = codec.decode(location.codec, stored, location.size_bytes)
    except DamagedObject as error:
        raise DamagedObject(f"the {key} in {location.url} is damaged: {error.message}", hint="run artfs fsck") from None
    if Digest.of(data) != key.digest:
        raise DamagedObject(f"the {key} in {location.url} does not match its digest", hint="run artfs fsck")
    return data


def _stored(data: memoryview, span: Span, location: Location) -> memoryview:
    start = location.offset - span.offset
    return data[start : start + location.stored_bytes]
