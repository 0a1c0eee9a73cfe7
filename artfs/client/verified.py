"""Stored bytes become objects: decoded, and hashed. Whatever a reader gets of a pack passes here."""

from __future__ import annotations

from artfs.client.spans import Span
from artfs.errors import DamagedObject
from artfs.model import codec
from artfs.model.digest import Digest, ObjectKey
from artfs.vfs.ports import Bytes
from artfs.wire.records import Location


def verified(key: ObjectKey, location: Location, stored: Bytes) -> Bytes:
    """Decode an object's stored bytes and check its digest. Raises DamagedObject naming object and place."""
    try:
        data = codec.decode(location.codec, stored, location.size_bytes)
    except DamagedObject as error:
        raise DamagedObject(f"the {key} in {location.url} is damaged: {error.message}", hint="run artfs fsck") from None
    if Digest.of(data) != key.digest:
        raise DamagedObject(f"the {key} in {location.url} does not match its digest", hint="run artfs fsck")
    return data


def stored_in(data: memoryview, span: Span, location: Location) -> memoryview:
    start = location.offset - span.offset
    return data[start : start + location.stored_bytes]
