"""Blocks of references, over a source in memory: what is in the cache is believed no more than what comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from artfs.cache.object_cache import ObjectCache
from artfs.client.references.reader import ReferenceReader
from artfs.client.references.source import Located, Told
from artfs.errors import ReferenceChanged, ReferenceUnavailable
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.reference import BLOCK_BYTES, Reference
from artfs.vfs.ports import Bytes

pytestmark = [pytest.mark.falsifies("references", "verified")]

_T = TypeVar("_T")
URI = "https://host.example/f"


class Fixed:
    """A `Source` that has the same bytes for ever."""

    is_local = False

    def __init__(self, data: bytes, *, ranges: bool = True) -> None:
        self._data = data
        self._ranges = ranges
        self.sent_bytes = 0

    def close(self) -> None:
        pass

    def whole_md5(self, uri: str) -> bytes | None:
        return None

    def locate(self, uri: str, objects_max: int) -> list[Located]:
        return []

    def receive(
        self,
        uri: str,
        span: tuple[int, int] | None,
        etag: str,
        expected_bytes: int,
        take: Callable[[Told, Iterator[Bytes]], _T],
    ) -> _T:
        is_whole = span is None or not self._ranges
        offset, length = (0, len(self._data)) if is_whole or span is None else span
        told = Told(len(self._data), '"e"', '"e"', offset, is_whole=is_whole)

        def pieces() -> Iterator[Bytes]:
            self.sent_bytes += length
            yield self._data[offset : offset + length]

        return take(told, pieces())


def test_a_block_of_another_length_is_not_taken_from_the_cache_though_it_has_the_digest(tmp_path: Path) -> None:
    right, longer = b"right", b"longer than is right"
    key = ObjectKey(ObjectKind.CHUNK, Digest.of(longer))
    reference = Reference(URI, len(right), sha256=key.digest, blocks=bytes(key.digest))
    with ObjectCache(tmp_path / "cache", 4 << 20) as cache:
        cache.put("p", {key: longer})
        reader = ReferenceReader(lambda scheme: Fixed(right), cache=cache)
        with pytest.raises(ReferenceChanged):
            reader.open("p", Digest.of(b"descriptor"), reference).read(0, 100)


def test_a_source_that_is_only_read_as_a_whole_and_is_too_long_for_that_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = bytes(2 * BLOCK_BYTES + 5)
    source = Fixed(data, ranges=False)
    opened = ReferenceReader(lambda scheme: source).open(
        "p", Digest.of(b"descriptor"), Reference(URI, len(data), '"e"')
    )
    monkeypatch.setattr("artfs.client.references.reader.WHOLE_BYTES_MAX", len(data) - 1)
    with pytest.raises(ReferenceUnavailable, match="too long"):
        opened.read(0, 5)
    assert source.sent_bytes == 0
    monkeypatch.setattr("artfs.client.references.reader.WHOLE_BYTES_MAX", len(data))
    assert opened.read(0, 5) == data[:5]
