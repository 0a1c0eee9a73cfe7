"""Ranges and streams of files."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from artfs.client.files import FileReader
from artfs.client.trees import TreeReader
from artfs.errors import DamagedObject
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from tests.contract.uploading import content_of
from tests.unit.client.memory_source import MemorySource

DATA = random.Random(5).randbytes(12 << 20)


@pytest.fixture(scope="module")
def large() -> tuple[FileReader, FileContent]:
    content = content_of({"f": DATA})
    source = MemorySource(content.objects)
    entry = TreeReader(source, "vision").lookup(content.root, ("f",)).entry
    return FileReader(source, "vision"), FileContent.of(entry)


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 1), (0, 12 << 20), (1, (12 << 20) - 2), (5_000_000, 3_000_000), (len(DATA) - 1, 10), (len(DATA), 10)],
)
def test_any_range_of_a_large_file_is_what_was_put(
    large: tuple[FileReader, FileContent], offset: int, length: int
) -> None:
    reader, content = large
    assert reader.read(content, offset, length) == DATA[offset : offset + length]


def test_random_ranges_are_what_was_put(large: tuple[FileReader, FileContent]) -> None:
    reader, content = large
    rnd = random.Random(7)
    for _ in range(40):
        offset = rnd.randrange(len(DATA) + 100)
        length = rnd.randrange(3 << 20)
        assert reader.read(content, offset, length) == DATA[offset : offset + length]


def test_a_stream_is_the_file_with_or_without_a_thread_ahead(large: tuple[FileReader, FileContent]) -> None:
    reader, content = large
    assert b"".join(reader.stream(content)) == DATA
    with ThreadPoolExecutor(1) as ahead:
        assert b"".join(reader.stream(content, ahead)) == DATA


def test_the_digest_of_a_large_file_is_that_of_its_bytes(large: tuple[FileReader, FileContent]) -> None:
    reader, content = large
    assert reader.file_digest(content) == Digest.of(DATA)
    assert content.digest != Digest.of(DATA)


def test_a_small_file_is_read_by_range_too() -> None:
    content = content_of({"f": b"0123456789"})
    source = MemorySource(content.objects)
    file = FileContent.of(TreeReader(source, "vision").lookup(content.root, ("f",)).entry)
    reader = FileReader(source, "vision")
    assert (reader.read(file, 3, 4), reader.read(file, 9, 9), reader.read(file, 10, 1)) == (b"3456", b"9", b"")
    assert b"".join(reader.stream(file)) == b"0123456789"
    assert reader.file_digest(file) == Digest.of(b"0123456789")


def test_a_recipe_of_another_length_than_the_entry_says_is_damage(large: tuple[FileReader, FileContent]) -> None:
    reader, content = large
    with pytest.raises(DamagedObject, match="not 5"):
        reader.read(content._replace(size_bytes=5), 0, 1)
