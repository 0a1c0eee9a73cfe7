"""An encrypted file gives the plain bytes in every range, or refuses: whatever was done to it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from artfs.errors import DamagedPack, NewerFormat, StorageFailed
from artfs.store.encrypted import EncryptedPackStore
from artfs.store.encrypted_file import BLOCK_BYTES, HEADER_BYTES, TAG_BYTES, encrypt_file
from artfs.store.encryption_keys import EncryptionKeys
from artfs.store.pack_bytes import LocalPackBytes
from artfs.store.packs import LocalPackStore, PackName

pytestmark = [pytest.mark.falsifies("verified", "hostile")]

NAME = PackName(b"u" * 16, b"p" * 16)
KEYS = EncryptionKeys("k1", {"k1": bytes(range(32))})
REFUSED = (DamagedPack, StorageFailed, NewerFormat)

# sizes near where a block begins, and any other
sizes = st.one_of(
    st.integers(0, 200_000),
    st.builds(lambda n, d: max(0, n * BLOCK_BYTES + d), st.integers(0, 3), st.integers(-2, 2)),
)
offsets = st.integers(0, 220_000)


@contextmanager
def stored(size: int) -> Iterator[tuple[EncryptedPackStore, Path, bytes]]:
    """A store with one file of `size` bytes that are not those of a pack, the encrypted file, and the plain bytes."""
    plain = random.Random(size).randbytes(size)
    with TemporaryDirectory() as directory:
        inner = LocalPackStore(Path(directory) / "packs")
        source = Path(directory) / "plain"
        source.write_bytes(plain)
        path = inner.path(NAME)
        path.parent.mkdir(parents=True)
        with LocalPackBytes(source) as opened:
            encrypt_file(opened, path, NAME, KEYS, random.Random(7).randbytes)
        yield EncryptedPackStore(inner, KEYS), path, plain


@settings(max_examples=60)
@given(sizes, st.lists(st.tuples(offsets, offsets), min_size=1, max_size=8))
def test_every_range_is_that_of_the_plain_pack(size: int, ranges: list[tuple[int, int]]) -> None:
    with stored(size) as (store, path, plain):
        assert path.stat().st_size == HEADER_BYTES + size + TAG_BYTES * max(1, -(-size // BLOCK_BYTES))
        assert store.size_bytes(NAME) == size
        with store.open(NAME) as opened:
            for offset, length in ranges:
                assert store.read(NAME, offset, length) == plain[offset : offset + length]
                assert opened.pread(offset, length) == plain[offset : offset + length]
        assert size < 32 or plain[:32] not in path.read_bytes()


@settings(max_examples=100)
@given(sizes, st.integers(0), st.integers(0, 7), offsets, offsets)
def test_a_flipped_bit_is_never_read_as_data(size: int, at: int, bit: int, offset: int, length: int) -> None:
    with stored(size) as (store, path, plain):
        data = bytearray(path.read_bytes())
        data[at % len(data)] ^= 1 << bit
        assume(at % len(data) >= 8)  # the magic: without it the file is no encrypted one, and no pack either
        path.write_bytes(data)
        with pytest.raises(REFUSED):
            store.read(NAME, 0, size + 1)
        with suppress(*REFUSED):
            assert store.read(NAME, offset, length) == plain[offset : offset + length]


@settings(max_examples=60)
@given(sizes, st.integers(1), st.booleans())
def test_a_file_cut_anywhere_is_refused_at_its_end(size: int, cut: int, by_blocks: bool) -> None:
    with stored(size) as (store, path, _):
        sealed = path.stat().st_size
        left = sealed - cut % sealed if not by_blocks else sealed - (BLOCK_BYTES + TAG_BYTES)
        assume(8 <= left < sealed)
        with path.open("r+b") as file:
            file.truncate(left)
        for offset in (0, size // 2, size, size + BLOCK_BYTES):
            with pytest.raises(REFUSED):
                store.read(NAME, offset, size + BLOCK_BYTES)


@given(st.permutations([0, 1, 2, 3]))
@settings(max_examples=24)
def test_blocks_in_another_order_are_refused(order: list[int]) -> None:
    assume(order != [0, 1, 2, 3])
    with stored(4 * BLOCK_BYTES) as (store, path, _):
        data = path.read_bytes()
        step = BLOCK_BYTES + TAG_BYTES
        blocks = [data[HEADER_BYTES + i * step : HEADER_BYTES + (i + 1) * step] for i in range(4)]
        path.write_bytes(data[:HEADER_BYTES] + b"".join(blocks[i] for i in order))
        with pytest.raises(DamagedPack):
            store.read(NAME, 0, 4 * BLOCK_BYTES)


def test_a_file_in_the_place_of_another_is_refused() -> None:
    with stored(100) as (store, path, _):
        other = PackName(NAME.project_uid, b"q" * 16)
        target = path.parent.parent / "71" / f"{other.pack_id.hex()}.pack"
        target.parent.mkdir()
        path.rename(target)
        with pytest.raises(StorageFailed, match="k1"):
            store.read(other, 0, 10)


def test_the_key_of_a_file_is_derived_as_documented() -> None:
    with stored(100) as (_, path, plain):
        data = path.read_bytes()
        okm = HKDF(SHA256(), 48, salt=data[48:64], info=b"artfs pack" + b"u" * 16 + b"p" * 16).derive(KEYS.keys["k1"])
        assert data[64:80] == okm[32:]
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        bound = data[:HEADER_BYTES] + b"u" * 16 + b"p" * 16 + b"\1"
        assert AESGCM(okm[:32]).decrypt(bytes(12), data[HEADER_BYTES:], bound) == plain
