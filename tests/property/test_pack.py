"""Packs: header, index and footer describe the objects exactly, and no damage to them goes unnoticed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artfs.errors import DamagedPack, NewerFormat
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import (
    FOOTER_BYTES,
    HEADER_BYTES,
    OBJECT_BYTES_MAX,
    PackedObject,
    PackHeader,
    decode_footer,
    decode_header,
    decode_index,
    encode_header,
    encode_tail,
)

pytestmark = [pytest.mark.falsifies("hostile")]

IDS = st.binary(min_size=16, max_size=16)
HEADERS = st.builds(PackHeader, IDS, IDS, st.integers(0, 2**63))
KEYS = st.builds(ObjectKey, st.sampled_from(ObjectKind), st.binary(min_size=32, max_size=32).map(Digest))
LENGTHS = st.lists(
    st.tuples(KEYS, st.integers(0, OBJECT_BYTES_MAX), st.integers(0, 1), st.integers(0, 99)), max_size=20
)


def placed_from(lengths: list[tuple[ObjectKey, int, int, int]]) -> list[PackedObject]:
    objects, offset = [], HEADER_BYTES
    for key, size, codec, stored in lengths:
        objects.append(PackedObject(key, size, codec, offset, stored))
        offset += stored
    return objects


def pack_of(header: PackHeader, objects: list[PackedObject]) -> bytes:
    return encode_header(header) + bytes(sum(o.stored_bytes for o in objects)) + encode_tail(header, objects)


def _read(data: bytes) -> tuple[PackHeader, list[PackedObject]]:
    header, footer = data[:HEADER_BYTES], data[-FOOTER_BYTES:]
    decoded = decode_header(header)
    offset, length = decode_footer(footer, len(data))
    return decoded, decode_index(header, data[offset : offset + length], footer)


@given(header=HEADERS, lengths=LENGTHS)
def test_a_pack_describes_its_objects(header: PackHeader, lengths: list[tuple[ObjectKey, int, int, int]]) -> None:
    objects = placed_from(lengths)
    assert _read(pack_of(header, objects)) == (header, objects)


@settings(max_examples=300)
@given(header=HEADERS, lengths=LENGTHS, data=st.data())
def test_a_changed_byte_outside_the_objects_is_noticed(
    header: PackHeader, lengths: list[tuple[ObjectKey, int, int, int]], data: st.DataObject
) -> None:
    objects = placed_from(lengths)
    pack = bytearray(pack_of(header, objects))
    end = HEADER_BYTES + sum(o.stored_bytes for o in objects)
    position = data.draw(st.integers(0, HEADER_BYTES - 1) | st.integers(end, len(pack) - 1))
    pack[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises((DamagedPack, NewerFormat)):
        _read(bytes(pack))


@given(header=HEADERS, lengths=LENGTHS, data=st.data())
def test_a_pack_of_another_length_is_noticed(
    header: PackHeader, lengths: list[tuple[ObjectKey, int, int, int]], data: st.DataObject
) -> None:
    pack = pack_of(header, placed_from(lengths))
    cut = pack[: data.draw(st.integers(0, len(pack) - 1))]
    grown = pack[:HEADER_BYTES] + b"x" + pack[HEADER_BYTES:]
    for wrong in (cut, grown):
        with pytest.raises(DamagedPack):
            _read(wrong)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_but_damage(data: bytes) -> None:
    with pytest.raises((DamagedPack, NewerFormat)):
        _read(data)
