"""Digests, sizes, codecs, chunking and times: values in their stored and written forms."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
import zstandard

from artfs.errors import DamagedObject, InvalidValue, NewerFormat
from artfs.model import codec
from artfs.model.chunking import CHUNK_BYTES_MAX, CHUNK_BYTES_MEAN, CHUNK_BYTES_MIN, cut_points
from artfs.model.codec import Codec
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.sizes import format_size, parse_size
from artfs.wire.times import PageTimes, encode_times

NOISE = random.Random(1).randbytes(16 << 20)


def test_a_digest_is_sha_256_and_says_so() -> None:
    digest = Digest.of(b"abc")
    assert digest == sha256(b"abc").digest()
    assert digest.text == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert Digest.parse(digest.text) == digest
    assert str(ObjectKey(ObjectKind.TREE, digest)) == f"tree {digest.text}"


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:" + "0" * 63, "sha256:" + "A" * 64, "md5:" + "0" * 64, "sha256:" + "g" * 64, "0" * 64],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        Digest.parse(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("17", 17), ("1k", 1000), ("1KiB", 1024), ("1.5GB", 1_500_000_000), ("2 tib", 2 << 40), ("1b", 1)],
)
def test_sizes_are_decimal_unless_they_say_otherwise(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "-1", "1XB", "GB", "1 2", "1ib", "0x10", "1e3", "nan", "١"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1_269_760, "1.21 MiB"),
        (12 << 30, "12.0 GiB"),
        (3 << 50, "3.00 PiB"),
    ],
)
def test_sizes_are_written_in_binary_units(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    "data", [b"", b"x", b"x" * 127, b"x" * 128, b"text " * 50_000, NOISE[:300_000], NOISE[:130_000]]
)
def test_what_is_encoded_decodes_to_itself(data: bytes) -> None:
    how, stored = codec.encode(data)
    assert codec.decode(how, stored, len(data)) == data
    assert len(stored) <= len(data)


def test_noise_is_stored_as_it_is_and_text_is_compressed() -> None:
    assert codec.encode(NOISE[:300_000])[0] is Codec.RAW
    assert codec.encode(b"text " * 100)[0] is Codec.ZSTD


@pytest.mark.parametrize(
    ("how", "stored", "size_bytes"),
    [
        (Codec.RAW, b"abc", 4),
        (Codec.ZSTD, b"not zstd", 8),
        (Codec.ZSTD, zstandard.compress(b"x" * 1000), 999),
        (Codec.ZSTD, zstandard.compress(b"x" * 1000)[:-3], 1000),
        (Codec.ZSTD, b"", 0),
    ],
)
def test_stored_bytes_that_do_not_decode_to_their_length_are_damage(how: int, stored: bytes, size_bytes: int) -> None:
    with pytest.raises(DamagedObject):
        codec.decode(how, stored, size_bytes)


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    bomb = zstandard.compress(bytes(64 << 20))
    with pytest.raises(DamagedObject, match="declares 67108864 bytes where 1000 belong"):
        codec.decode(Codec.ZSTD, bomb, 1000)


def test_a_codec_of_the_future_is_named() -> None:
    with pytest.raises(NewerFormat, match="codec 2"):
        codec.decode(2, b"", 0)


def test_chunks_add_up_and_keep_their_bounds() -> None:
    lengths = cut_points(NOISE)
    assert sum(lengths) == len(NOISE)
    assert all(CHUNK_BYTES_MIN <= length <= CHUNK_BYTES_MAX for length in lengths[:-1])
    assert CHUNK_BYTES_MEAN // 2 < len(NOISE) / len(lengths) < 2 * CHUNK_BYTES_MEAN


def test_the_cut_points_are_part_of_the_format() -> None:
    """Other cuts would end deduplication against what is stored: these numbers must never change."""
    assert cut_points(NOISE)[:6] == [1521776, 1087563, 1261026, 1429634, 665836, 1482520]


def test_cutting_goes_on_where_it_stopped() -> None:
    """Feeding a file in pieces, the last chunk of each again with what follows, gives the same chunks."""
    lengths, start = [], 0
    for end in (5 << 20, 9 << 20, len(NOISE)):
        found = cut_points(memoryview(NOISE)[start:end])
        found = found if end == len(NOISE) else found[:-1]
        lengths += found
        start += sum(found)
    assert lengths == cut_points(NOISE)


def test_an_insertion_changes_few_chunks() -> None:
    def digests(data: bytes) -> set[Digest]:
        found, start = set(), 0
        for length in cut_points(data):
            found.add(Digest.of(data[start : start + length]))
            start += length
        return found

    inserted = NOISE[: 8 << 20] + b"!" * 1000 + NOISE[8 << 20 :]
    assert len(digests(inserted) - digests(NOISE)) <= 3


def test_times_are_kept_as_runs_and_read_by_position() -> None:
    times = [5] * 1000 + [7] + [5] * 3
    encoded = encode_times(times)
    page = PageTimes(encoded, 9)
    assert [page[i] for i in range(1004)] == times
    assert page[1004] == 9
    assert len(encoded) < 20


def test_a_page_without_times_has_its_own() -> None:
    page = PageTimes(b"", 9)
    assert (page[0], page[10**6]) == (9, 9)
