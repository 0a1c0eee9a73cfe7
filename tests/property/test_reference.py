"""Descriptors of references: what is encoded is decoded again, and bytes that nobody would have written are refused."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artfs.errors import DamagedObject, InvalidValue, NewerFormat
from artfs.model.digest import Digest
from artfs.model.reference import (
    BLOCK_BYTES,
    BLOCK_BYTES_MAX,
    BLOCKS_MAX,
    Reference,
    block_bytes_for,
    decode_reference,
    encode_reference,
)

pytestmark = [pytest.mark.falsifies("hostile")]

texts = st.text(st.characters(min_codepoint=0x20, exclude_characters="\x7f", codec="utf-8"), max_size=40)
digests = st.binary(min_size=32, max_size=32).map(Digest)


@st.composite
def references(draw: st.DrawFn) -> Reference:
    block_bytes = draw(st.sampled_from([BLOCK_BYTES, 4 * BLOCK_BYTES, BLOCK_BYTES_MAX]))
    uri = f"{draw(st.sampled_from(['https', 's3', 'file']))}:{draw(texts)}x"
    size_bytes = draw(st.integers(0, 5 * block_bytes))
    if draw(st.booleans()):
        return Reference(uri, size_bytes, draw(texts), None, block_bytes)
    count = -(-size_bytes // block_bytes)
    blocks = b"".join(draw(digests) for _ in range(count))
    whole = Digest(blocks) if count == 1 else Digest(sha256(b"").digest()) if not count else draw(digests)
    return Reference(uri, size_bytes, draw(texts), whole, block_bytes, blocks)


@given(references())
def test_a_descriptor_is_read_as_it_was_written(reference: Reference) -> None:
    data = encode_reference(reference)
    assert decode_reference(data) == reference
    ranges = [reference.block_range(i) for i in range(reference.block_count)]
    assert sum(length for _, length in ranges) == reference.size_bytes
    assert all(offset == i * reference.block_bytes and length > 0 for i, (offset, length) in enumerate(ranges))


@given(references(), st.data())
def test_changed_bytes_are_refused_or_mean_something_else(reference: Reference, data: st.DataObject) -> None:
    encoded = encode_reference(reference)
    position = data.draw(st.integers(0, len(encoded) - 1))
    changed = encoded[:position] + bytes([encoded[position] ^ data.draw(st.integers(1, 255))]) + encoded[position + 1 :]
    try:
        decoded = decode_reference(changed)
    except (DamagedObject, NewerFormat):
        return
    assert decoded != reference
    assert encode_reference(decoded) == changed


@given(references(), st.integers(0, 200))
def test_cut_or_longer_bytes_are_refused(reference: Reference, length: int) -> None:
    encoded = encode_reference(reference)
    with pytest.raises(DamagedObject):
        decode_reference(encoded[: min(length, len(encoded) - 1)])
    with pytest.raises(DamagedObject):
        decode_reference(encoded + b"\0")


@given(st.binary(max_size=100))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    with suppress(DamagedObject, NewerFormat):
        decode_reference(data)


def test_a_later_format_is_told() -> None:
    with pytest.raises(NewerFormat):
        decode_reference(msgspec.msgpack.encode([2, "whatever"]))


@pytest.mark.parametrize(
    "given",
    [
        {"uri": "no-scheme"},
        {"uri": "https:"},
        {"uri": "https://x\n"},
        {"uri": "https://" + "x" * 9000},
        {"size_bytes": -1},
        {"etag": "\0"},
        {"block_bytes": 3 << 20},
        {"block_bytes": 128 << 20},
        {"blocks": bytes(32)},
        {"sha256": Digest(bytes(32))},
        {"sha256": Digest(bytes(32)), "blocks": bytes(32)},
        {"sha256": Digest(bytes(32)), "blocks": bytes(64), "size_bytes": BLOCK_BYTES},
    ],
    ids=str,
)
def test_what_cannot_be_a_reference(given: dict[str, object]) -> None:
    fields: dict[str, object] = {"uri": "https://x", "size_bytes": 2 * BLOCK_BYTES, **given}
    with pytest.raises(InvalidValue, match="cannot be a reference"):
        Reference(**fields)  # type: ignore[arg-type]  # of many types


@given(st.integers(0, BLOCK_BYTES_MAX * BLOCKS_MAX))
def test_blocks_are_as_small_as_a_bounded_descriptor_allows(size_bytes: int) -> None:
    block_bytes = block_bytes_for(size_bytes)
    assert -(-size_bytes // block_bytes) <= BLOCKS_MAX
    assert block_bytes == BLOCK_BYTES or size_bytes > block_bytes // 2 * BLOCKS_MAX
