"""Recipes: any range of a file is found in the chunks that hold it, and nothing but a recipe decodes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artfs.errors import DamagedObject, NewerFormat
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import decode_recipe, encode_recipe

pytestmark = [pytest.mark.falsifies("hostile")]

DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
CHUNKS = st.lists(st.tuples(DIGESTS, st.integers(1, 50)), min_size=2, max_size=20)


@given(digest=DIGESTS, chunks=CHUNKS)
def test_a_recipe_holds_the_chunks_it_was_made_of(digest: Digest, chunks: list[tuple[Digest, int]]) -> None:
    recipe = decode_recipe(encode_recipe(digest, chunks))
    assert recipe.file_digest == digest
    assert recipe.size_bytes == sum(size for _, size in chunks)
    assert len(recipe) == len(chunks)
    assert [(chunk.digest, chunk.size_bytes) for chunk in recipe.chunks()] == chunks
    assert list(recipe.children()) == [ObjectKey(ObjectKind.CHUNK, digest) for digest, _ in chunks]


@given(chunks=CHUNKS, offset=st.integers(0, 1100), length=st.integers(0, 1100))
def test_the_spans_of_a_range_are_the_chunks_that_overlap_it(
    chunks: list[tuple[Digest, int]], offset: int, length: int
) -> None:
    recipe = decode_recipe(encode_recipe(Digest(bytes(32)), chunks))
    expected = [
        chunk
        for chunk in recipe.chunks()
        if length and chunk.start < offset + length and offset < chunk.start + chunk.size_bytes
    ]
    assert list(recipe.spans(offset, length)) == expected


@settings(max_examples=300)
@given(digest=DIGESTS, chunks=CHUNKS, data=st.data())
def test_bytes_that_are_not_canonical_do_not_decode(
    digest: Digest, chunks: list[tuple[Digest, int]], data: st.DataObject
) -> None:
    encoded = bytearray(encode_recipe(digest, chunks))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        recipe = decode_recipe(bytes(encoded))
    except (DamagedObject, NewerFormat):
        return
    pairs = [(chunk.digest, chunk.size_bytes) for chunk in recipe.chunks()]
    assert encode_recipe(recipe.file_digest, pairs) == bytes(encoded)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_damage(data: bytes) -> None:
    with suppress(DamagedObject, NewerFormat):
        decode_recipe(data)


@pytest.mark.parametrize("chunks", [[], [(Digest(bytes(32)), 1)], [(Digest(bytes(32)), 1), (Digest(bytes(32)), 0)]])
def test_fewer_than_two_chunks_or_an_empty_one_make_no_recipe(chunks: list[tuple[Digest, int]]) -> None:
    with pytest.raises(DamagedObject):
        decode_recipe(encode_recipe(Digest(bytes(32)), chunks))
