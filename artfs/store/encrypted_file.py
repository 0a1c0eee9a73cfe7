"""A pack as an encrypted file: a header, then blocks that are sealed one by one. docs/formats.md specifies every byte.

Each file has a key of its own, derived from the named key, a random salt and the pack's name. So a block's nonce is just its
number, and a block fits nowhere but where it was written: not in another pack, not elsewhere in its own, and the last one not
before the end. Offsets above this module are those of the plain pack.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from artfs.errors import DamagedPack, MachineNotReady, NewerFormat, StorageFailed
from artfs.store.durable import FILE_MODE, reported
from artfs.store.encryption_keys import EncryptionKeys
from artfs.store.pack_bytes import PackBytes
from artfs.store.packs import ENCRYPTED_MAGIC, PackName

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENCRYPTED_FORMAT = 1
BLOCK_BYTES = 64 << 10
TAG_BYTES = 16
SALT_BYTES = 16
_FIELDS = struct.Struct("<8sHHI32s16s16s")  # magic, format, flags, block length, key's name, salt, proof of the key
_CHECKSUM_BYTES = 8
HEADER_BYTES = _FIELDS.size + _CHECKSUM_BYTES
_SEALED_BYTES = BLOCK_BYTES + TAG_BYTES
_PROOF = slice(32, 48)


class EncryptedHeader(NamedTuple):
    """What an encrypted file says of itself: which key, and what it was derived with."""

    key_name: str
    salt: bytes
    proof: bytes
    raw: bytes


def decode_encrypted_header(data: bytes, label: str) -> EncryptedHeader | None:
    """The header at the start of a stored file; None for a plain pack. Raises DamagedPack or NewerFormat."""
    if not data.startswith(ENCRYPTED_MAGIC):
        return None
    if len(data) < HEADER_BYTES:
        raise DamagedPack(f"{label} is shorter than its header")
    raw = data[:HEADER_BYTES]
    _, file_format, flags, block, name, salt, proof = _FIELDS.unpack(raw[: _FIELDS.size])
    if sha256(raw[: _FIELDS.size]).digest()[:_CHECKSUM_BYTES] != raw[_FIELDS.size :]:
        raise DamagedPack(f"the encryption header of {label} does not match its checksum")
    if file_format > ENCRYPTED_FORMAT:
        raise NewerFormat(f"{label} is encrypted in format {file_format}", hint="upgrade artfs")
    if flags or block != BLOCK_BYTES:
        raise DamagedPack(f"the encryption header of {label} says what no artfs writes")
    return EncryptedHeader(name.rstrip(b"\0").decode("ascii", "replace"), salt, proof, raw)


def encrypt_file(
    source: PackBytes, target: Path, name: PackName, keys: EncryptionKeys, random_bytes: Callable[[int], bytes]
) -> None:
    """Write `source`, a plain pack, encrypted to `target`, which must not exist; durable in its content."""
    salt = random_bytes(SALT_BYTES)
    key, proof = _derive(keys.keys[keys.current], salt, name)
    fields = _FIELDS.pack(ENCRYPTED_MAGIC, ENCRYPTED_FORMAT, 0, BLOCK_BYTES, keys.current.encode("ascii"), salt, proof)
    header = fields + sha256(fields).digest()[:_CHECKSUM_BYTES]
    cipher = _cipher(key)
    count = _block_count(source.size_bytes)
    with reported("write the encrypted pack", target):
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(fd, "wb", 1 << 20) as file:
            file.write(header)
            for number in range(count):
                plain = source.pread(number * BLOCK_BYTES, BLOCK_BYTES)
                file.write(cipher.encrypt(_nonce(number), plain, _bound(header, name, number == count - 1)))
            file.flush()
            os.fsync(file.fileno())


class DecryptedBytes:
    """The plain `PackBytes` of an encrypted file. Closes `sealed`. Has one owner at a time.

    Raises StorageFailed when the key is absent or another one, DamagedPack when the file is not what was written.
    """

    def __init__(self, sealed: PackBytes, header: EncryptedHeader, name: PackName, keys: EncryptionKeys) -> None:
        self._sealed = sealed
        self._name = name
        self._header = header.raw
        self.label = sealed.label
        body = sealed.size_bytes - HEADER_BYTES
        self._count = max(1, -(-body // _SEALED_BYTES))
        self.size_bytes = body - self._count * TAG_BYTES
        if self.size_bytes < 0 or (self._count > 1 and self.size_bytes <= (self._count - 1) * BLOCK_BYTES):
            raise DamagedPack(f"{self.label} was cut short")
        self._cipher = _cipher(_key_of(header, name, keys, self.label))
        self._kept = (-1, b"")

    def pread(self, offset: int, length: int) -> bytes:
        """As `PackBytes`. That a pack ends where it does is verified by whoever reads up to there or beyond."""
        end = min(offset + max(0, length), self.size_bytes)
        first = min(offset // BLOCK_BYTES, self._count - 1)
        last = max(first, (end - 1) // BLOCK_BYTES)
        if offset + length > self.size_bytes:
            last = self._count - 1
        plain = self._block(first) if first == last else b"".join(self._blocks(first, last))
        start = first * BLOCK_BYTES
        return plain[offset - start : max(offset, end) - start]

    def close(self) -> None:
        self._sealed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _block(self, number: int) -> bytes:
        """One block, kept for the next read: small objects are neighbours in it."""
        if self._kept[0] != number:
            self._kept = (number, self._blocks(number, number)[0])
        return self._kept[1]

    def _blocks(self, first: int, last: int) -> list[bytes]:
        at = HEADER_BYTES + first * _SEALED_BYTES
        sealed = memoryview(self._sealed.pread(at, (last - first + 1) * _SEALED_BYTES))
        return [
            self._unseal(number, sealed[i * _SEALED_BYTES : (i + 1) * _SEALED_BYTES])
            for i, number in enumerate(range(first, last + 1))
        ]

    def _unseal(self, number: int, sealed: memoryview) -> bytes:
        from cryptography.exceptions import InvalidTag

        bound = _bound(self._header, self._name, number == self._count - 1)
        try:
            return self._cipher.decrypt(_nonce(number), sealed, bound)
        except (InvalidTag, ValueError):
            raise DamagedPack(
                f"block {number} of {self.label} is not what was written there", hint="run artfs fsck"
            ) from None


def _key_of(header: EncryptedHeader, name: PackName, keys: EncryptionKeys, label: str) -> bytes:
    found = keys.find(header.key_name)
    if found is None:
        raise StorageFailed(
            f"{label} is encrypted with the key {header.key_name!r}, which is not there",
            hint="add that key to the encryption keys",
        )
    key, proof = _derive(found, header.salt, name)
    if not hmac.compare_digest(proof, header.proof):
        raise StorageFailed(
            f"{label} is encrypted with another key named {header.key_name!r}, or belongs to another pack",
            hint="put the right key among the encryption keys, or run artfs fsck",
        )
    return key


def _derive(key: bytes, salt: bytes, name: PackName) -> tuple[bytes, bytes]:
    """A file's key and the proof that it is the right one: HKDF-SHA256 (RFC 5869), 48 bytes."""
    extracted = hmac.digest(salt, key, "sha256")
    info = b"artfs pack" + name.project_uid + name.pack_id
    first = hmac.digest(extracted, info + b"\1", "sha256")
    second = hmac.digest(extracted, first + info + b"\2", "sha256")
    return first, (first + second)[_PROOF]


def _cipher(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise MachineNotReady("encryption needs the package cryptography", hint="pip install 'artfs[server]'") from None
    return AESGCM(key)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "little")


def _bound(header: bytes, name: PackName, is_last: bool) -> bytes:
    """What a block is sealed together with."""
    return header + name.project_uid + name.pack_id + bytes([is_last])


def _block_count(size_bytes: int) -> int:
    return max(1, -(-size_bytes // BLOCK_BYTES))
