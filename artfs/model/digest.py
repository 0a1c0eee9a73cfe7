"""Digests and the keys of objects.

A digest is the SHA-256 of an object's decoded bytes. An object is named by its kind and its digest together, so that bytes
uploaded as a chunk (which refers to nothing) can never stand in for a tree (whose children were checked).
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple, Self

from artfs.errors import InvalidValue

ALGORITHM = "sha256"
DIGEST_BYTES = 32


class Digest(bytes):
    """32 bytes of SHA-256; its text form is `sha256:` and 64 hexadecimal digits."""

    __slots__ = ()

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Self:
        return cls(sha256(data).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form. Raises InvalidValue when it is anything else."""
        algorithm, _, digits = text.partition(":")
        if algorithm != ALGORITHM or len(digits) != 2 * DIGEST_BYTES or digits != digits.lower():
            raise InvalidValue(f"{text!r} is not a digest", hint="expected sha256: and 64 hexadecimal digits")
        try:
            found = cls(bytes.fromhex(digits))
        except ValueError:
            found = cls()
        if len(found) != DIGEST_BYTES:  # fromhex passes over spaces
            raise InvalidValue(f"{text!r} is not a digest", hint="expected sha256: and 64 hexadecimal digits")
        return found

    @property
    def text(self) -> str:
        return f"{ALGORITHM}:{self.hex()}"


class ObjectKind(IntEnum):
    """What an object's bytes are. The numbers are stored: never reuse one."""

    CHUNK = 1
    RECIPE = 2
    TREE = 3


_KINDS = {kind.name.lower(): kind for kind in ObjectKind}


class ObjectKey(NamedTuple):
    """An object's name within its project."""

    kind: ObjectKind
    digest: Digest

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {self.digest.text}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes. Raises InvalidValue when it is anything else."""
        kind, _, digest = text.partition(" ")
        if kind not in _KINDS:
            raise InvalidValue(
                f"{text!r} names no object", hint="expected chunk, recipe or tree, a space, and a digest"
            )
        return cls(_KINDS[kind], Digest.parse(digest))
