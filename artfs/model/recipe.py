"""Recipes: the chunks of a large file in order, with the SHA-256 of the whole. docs/formats.md has the layout."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import msgspec

from artfs.errors import DamagedObject, NewerFormat
from artfs.model.digest import DIGEST_BYTES, Digest, ObjectKey, ObjectKind

RECIPE_FORMAT = 1
FILE_BYTES_MAX = 2**63 - 1  # what stat(2) can tell
RECIPE_CHUNKS_MAX = 1_700_000  # an encoded recipe stays under 64 MiB; files up to about 1.6 TiB


class _RecipeRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    format: int
    file_digest: bytes
    sizes: list[int]
    digests: bytes


class ChunkSpan(NamedTuple):
    """A chunk's place in its file."""

    digest: Digest
    start: int
    size_bytes: int


class Recipe:
    """A decoded recipe.

    Attributes:
        file_digest: SHA-256 of the whole file.
        size_bytes: the file's length.
    """

    __slots__ = ("_digests", "_starts", "file_digest", "size_bytes")

    def __init__(self, file_digest: Digest, sizes: Sequence[int], digests: bytes) -> None:
        self.file_digest = file_digest
        self._digests = digests
        self._starts = [0, *accumulate(sizes)]
        self.size_bytes = self._starts[-1]

    def __len__(self) -> int:
        return len(self._starts) - 1

    def chunk(self, i: int) -> ChunkSpan:
        digest = Digest(self._digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES])
        return ChunkSpan(digest, self._starts[i], self._starts[i + 1] - self._starts[i])

    def chunks(self) -> Iterator[ChunkSpan]:
        return map(self.chunk, range(len(self)))

    def index_at(self, offset: int) -> int:
        """The position of the chunk that holds the byte at `offset`, which is inside the file."""
        return bisect_right(self._starts, offset) - 1

    def spans(self, offset: int, length: int) -> Iterator[ChunkSpan]:
        """The chunks that hold `length` bytes from `offset`, in order; fewer at the end of the file."""
        end = min(offset + length, self.size_bytes)
        if offset >= end:
            return
        i = self.index_at(offset)
        while self._starts[i] < end:
            yield self.chunk(i)
            i += 1

    def children(self) -> Iterator[ObjectKey]:
        """The objects this recipe refers to, in order, with repetitions."""
        return (ObjectKey(ObjectKind.CHUNK, self.chunk(i).digest) for i in range(len(self)))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_RecipeRow)
_head_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode_recipe(file_digest: Digest, chunks: Sequence[tuple[Digest, int]]) -> bytes:
    """The canonical bytes of a recipe of `(digest, size_bytes)` pairs."""
    sizes = [size for _, size in chunks]
    return _encoder.encode(_RecipeRow(RECIPE_FORMAT, bytes(file_digest), sizes, b"".join(d for d, _ in chunks)))


def decode_recipe(data: bytes) -> Recipe:
    """Read a recipe. Raises DamagedObject for anything `encode_recipe` would not have written, NewerFormat if later."""
    try:
        head = _head_decoder.decode(data)
        recipe_format = msgspec.msgpack.decode(head[0], type=int) if head else 0
        if recipe_format > RECIPE_FORMAT:
            raise NewerFormat(f"a recipe of format {recipe_format}", hint="upgrade artfs")
        row = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DamagedObject(f"not a recipe: {error}") from None
    count = len(row.sizes)
    if not 2 <= count <= RECIPE_CHUNKS_MAX or len(row.digests) != count * DIGEST_BYTES:
        raise DamagedObject("a recipe's columns differ in length, or it has fewer than two chunks or too many")
    if len(row.file_digest) != DIGEST_BYTES or min(row.sizes) < 1 or recipe_format != RECIPE_FORMAT:
        raise DamagedObject("a recipe with an empty chunk or a malformed digest")
    if sum(row.sizes) > FILE_BYTES_MAX:
        raise DamagedObject("a recipe of more bytes than a file can have")
    if _encoder.encode(row) != data:
        raise DamagedObject("a recipe that is not in canonical form")
    return Recipe(Digest(row.file_digest), row.sizes, row.digests)
