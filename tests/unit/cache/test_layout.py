"""The cache's bytes: what is written is read back, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artfs.cache.layout import (
    PAGE_BYTES,
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Record,
    decode_record_header,
    decode_segment_header,
    encode_record_header,
    encode_segment_header,
    mark_of,
    segment_header_for,
    stamp_offset,
)
from artfs.model.digest import Digest, ObjectKey, ObjectKind

pytestmark = [pytest.mark.falsifies("verified")]

keys = st.builds(ObjectKey, st.sampled_from(ObjectKind), st.binary(min_size=32, max_size=32).map(Digest))
uids = st.binary(min_size=16, max_size=16)
numbers = st.integers(0, 2**32 - 1)


@given(uids, keys, numbers, numbers, st.integers(0, 2**40))
def test_a_record_says_all_about_itself(uid: bytes, key: ObjectKey, length: int, number: int, offset: int) -> None:
    data = encode_record_header(uid, key, length, number)
    assert len(data) == RECORD_HEADER_BYTES
    assert decode_record_header(data, offset) == Record(number, offset, length, uid, key)


@given(st.integers(2, 2**14).map(lambda pages: pages * PAGE_BYTES), st.integers(0, 2**13))
def test_a_segment_header_comes_back(capacity: int, tail: int) -> None:
    header = segment_header_for(capacity)._replace(tail_bytes=tail)
    assert decode_segment_header(encode_segment_header(header)) == header
    assert stamp_offset(header.records_max) <= header.data_start < capacity


@given(st.binary(max_size=2 * SEGMENT_HEADER_BYTES))
def test_garbage_is_no_header(data: bytes) -> None:
    assert decode_segment_header(data) is None
    assert decode_record_header(data, 0) is None


@given(uids, uids, keys, st.sampled_from(ObjectKind))
def test_marks_tell_projects_and_kinds_apart(uid: bytes, other: bytes, key: ObjectKey, kind: ObjectKind) -> None:
    assert 0 < mark_of(uid, key) < 2**64
    if other[:8] != uid[:8]:
        assert mark_of(uid, key) != mark_of(other, key)
    if kind != key.kind:
        assert mark_of(uid, key) != mark_of(uid, ObjectKey(kind, key.digest))
