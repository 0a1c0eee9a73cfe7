"""References: what a descriptor says of bytes that are somewhere else. docs/formats.md has the layout of its encoding.

A descriptor is stored as a chunk, so everything that is done with chunks is done with it. Knows nothing of how a URI is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import msgspec

from artfs.errors import DamagedObject, InvalidValue, NewerFormat
from artfs.model.digest import DIGEST_BYTES, Digest

REFERENCE_FORMAT = 1
BLOCK_BYTES = 1 << 20  # of a source, read and verified at once
BLOCK_BYTES_MAX = 64 << 20
BLOCKS_MAX = 1_000_000  # an encoded descriptor stays under 64 MiB
SIZE_BYTES_MAX = BLOCKS_MAX * BLOCK_BYTES_MAX
URI_BYTES_MAX = 8192
ETAG_BYTES_MAX = 1024
_EMPTY = sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Reference:
    """What is referred to, and how to tell that it is still the same.

    Args:
        uri: where it is; its scheme says how it is read.
        size_bytes: its length.
        etag: what the source called this state of it, as it was told; empty if it told nothing.
        sha256: of all of it; None if nobody has read it.
        block_bytes: in which pieces it is read and verified; the last one is shorter.
        blocks: the SHA-256 of each piece, concatenated; empty if `sha256` is None.
    """

    uri: str
    size_bytes: int
    etag: str = ""
    sha256: Digest | None = None
    block_bytes: int = BLOCK_BYTES
    blocks: bytes = b""

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise InvalidValue(f"this cannot be a reference: {problem}")

    @property
    def block_count(self) -> int:
        return -(-self.size_bytes // self.block_bytes)

    @property
    def scheme(self) -> str:
        return self.uri.partition(":")[0]

    def block_digest(self, i: int) -> Digest | None:
        """The SHA-256 of block `i`; None if it is not known beforehand."""
        return Digest(self.blocks[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]) if self.blocks else None

    def block_range(self, i: int) -> tuple[int, int]:
        """Offset and length of block `i`."""
        offset = i * self.block_bytes
        return offset, min(self.block_bytes, self.size_bytes - offset)


def block_bytes_for(size_bytes: int) -> int:
    """The length of blocks with which a descriptor of so large a source is not too large itself."""
    block_bytes = BLOCK_BYTES
    while size_bytes > block_bytes * BLOCKS_MAX:
        block_bytes *= 2
    return block_bytes


class _Row(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    format: int
    uri: str
    size_bytes: int
    etag: str
    sha256: bytes
    block_bytes: int
    blocks: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Row)
_head_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode_reference(reference: Reference) -> bytes:
    """The canonical bytes of a descriptor."""
    return _encoder.encode(
        _Row(
            REFERENCE_FORMAT,
            reference.uri,
            reference.size_bytes,
            reference.etag,
            bytes(reference.sha256 or b""),
            reference.block_bytes,
            reference.blocks,
        )
    )


def decode_reference(data: bytes) -> Reference:
    """Read a descriptor. Raises DamagedObject for anything `encode_reference` would not have written, NewerFormat if later."""
    try:
        head = _head_decoder.decode(data)
        found = msgspec.msgpack.decode(head[0], type=int) if head else 0
        if found > REFERENCE_FORMAT:
            raise NewerFormat(f"a reference of format {found}", hint="upgrade artfs")
        row = _decoder.decode(data)
        whole = Digest(row.sha256) if row.sha256 else None
        reference = Reference(row.uri, row.size_bytes, row.etag, whole, row.block_bytes, row.blocks)
    except (msgspec.DecodeError, InvalidValue, ValueError, RecursionError) as error:
        raise DamagedObject(f"not a reference: {error}") from None
    if found != REFERENCE_FORMAT or encode_reference(reference) != data:
        raise DamagedObject("a reference that is not in canonical form")
    return reference


def _problem(reference: Reference) -> str:
    """Why it cannot be one; empty if it can."""
    block_bytes = reference.block_bytes
    scheme, colon, rest = reference.uri.partition(":")
    if not (colon and rest and scheme.isascii() and scheme.isalnum() and scheme == scheme.lower()):
        return "its URI has no scheme"
    if not _is_plain(reference.uri, URI_BYTES_MAX) or not _is_plain(reference.etag, ETAG_BYTES_MAX):
        return "its URI or ETag is too long, or has control characters"
    if not 0 <= reference.size_bytes <= SIZE_BYTES_MAX:
        return "its size is out of bounds"
    if not BLOCK_BYTES <= block_bytes <= BLOCK_BYTES_MAX or block_bytes & (block_bytes - 1):
        return "its blocks have a strange length"
    if reference.block_count > BLOCKS_MAX:
        return "it has too many blocks"
    return _digest_problem(reference)


def _digest_problem(reference: Reference) -> str:
    whole, blocks, count = reference.sha256, reference.blocks, reference.block_count
    if whole is None:
        return "it has digests of blocks but none of the whole" if blocks else ""
    if len(whole) != DIGEST_BYTES or len(blocks) != count * DIGEST_BYTES:
        return "its digests are not one a block and one of the whole"
    if count < 2 and whole != (blocks or _EMPTY):
        return "its digests contradict each other"
    return ""


def _is_plain(text: str, bytes_max: int) -> bool:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        return False
    try:
        return len(text.encode("utf-8")) <= bytes_max
    except UnicodeEncodeError:
        return False
