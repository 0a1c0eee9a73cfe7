"""Blocks of a reference: cut out of its bytes as they come, and neighbours put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from artfs.client.references.source import changed
from artfs.model.reference import Reference
from artfs.vfs.ports import Bytes


def cut_blocks(reference: Reference, numbers: Sequence[int], pieces: Iterator[Bytes]) -> Iterator[bytes]:
    """The blocks `numbers`, neighbours, out of their bytes in pieces. Raises ReferenceChanged if there are fewer or more."""
    held = bytearray()
    for number in numbers:
        length = reference.block_range(number)[1]
        while len(held) < length:
            piece = next(pieces, None)
            if piece is None:
                raise changed(reference.uri, "it is shorter")
            held += piece
        yield bytes(memoryview(held)[:length])
        del held[:length]
    if held or next(pieces, None):
        raise changed(reference.uri, "it is longer")


def runs(numbers: Sequence[int]) -> Iterator[range]:
    """Neighbours together."""
    if not numbers:
        return
    first = numbers[0]
    for before, number in pairwise(numbers):
        if number != before + 1:
            yield range(first, before + 1)
            first = number
    yield range(first, numbers[-1] + 1)
