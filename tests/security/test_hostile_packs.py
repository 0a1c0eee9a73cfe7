"""Packs and places of objects that somebody made up: a registry takes none of them, and a reader makes no room for them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from artfs.client.objects import ObjectReader
from artfs.client.remote.packs import HttpPacks
from artfs.client.remote.registry import RemoteRegistry
from artfs.errors import ArtfsError, Damaged, DamagedObject, DamagedPack, Unavailable
from artfs.model import codec
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import (
    FOOTER_BYTES,
    HEADER_BYTES,
    OBJECT_BYTES_MAX,
    UNPACKED_BYTES_MAX,
    PackedObject,
    PackHeader,
    decode_footer,
    decode_index,
    encode_header,
    encode_tail,
)
from artfs.registry.examine import examine
from artfs.registry.resources import Verify
from artfs.store.pack_file import PackReader
from tests.network.scripted import answer, record, scripted
from tests.reliability.trials import tried

pytestmark = [pytest.mark.usefixtures("little_memory"), pytest.mark.falsifies("hostile")]

HEADER = PackHeader(b"p" * 16, b"u" * 16, 0)
CHUNK = ObjectKey(ObjectKind.CHUNK, Digest.of(b"bytes"))


def frame(declared: int, real: int) -> bytes:
    """A zstd frame of `real` zeros, in blocks that each are one repeated byte, which says that it is of `declared` bytes."""
    head = b"\x28\xb5\x2f\xfd\xe0" + declared.to_bytes(8, "little")
    block = 128 << 10
    lengths = [block] * (real // block) + [real % block]
    blocks = [(length << 3 | 2).to_bytes(3, "little") + b"\0" for length in lengths]
    last = (lengths[-1] << 3 | 3).to_bytes(3, "little") + b"\0"
    return head + b"".join(blocks[:-1]) + last


def write_pack(path: Path, objects: list[PackedObject], stored: bytes) -> Path:
    path.write_bytes(encode_header(HEADER) + stored + encode_tail(HEADER, objects))
    return path


def test_the_frames_here_are_frames() -> None:
    assert zstandard.ZstdDecompressor().decompress(frame(1 << 20, 1 << 20)) == bytes(1 << 20)
    assert codec.decode(1, frame(300_000, 300_000), 300_000) == bytes(300_000)


@pytest.mark.parametrize(
    ("declared", "real", "size"),
    [
        (100, 1 << 40, 100),  # more than it says
        (1 << 40, 1 << 20, 100),  # it says more than belongs there
        (1 << 40, 1 << 20, 1 << 40),  # whoever knows where it is says so too
        (OBJECT_BYTES_MAX + 1, OBJECT_BYTES_MAX + 1, OBJECT_BYTES_MAX + 1),
        (2**64 - 1, 1 << 20, 2**64 - 1),
        (100, 99, 100),
    ],
)
def test_a_bomb_is_refused_before_it_goes_off(declared: int, real: int, size: int) -> None:
    with pytest.raises(DamagedObject):
        codec.decode(1, frame(declared, min(real, 4 << 30)), size)
    tried("decompression bombs")


def test_many_objects_that_are_large_are_too_much_for_one_pack(tmp_path: Path) -> None:
    """Each is allowed, and takes its time to be verified: a pack of 65,536 of them would take a day."""
    count = UNPACKED_BYTES_MAX // OBJECT_BYTES_MAX + 1
    stored = frame(OBJECT_BYTES_MAX, OBJECT_BYTES_MAX)
    objects = [
        PackedObject(CHUNK, OBJECT_BYTES_MAX, 1, HEADER_BYTES + i * len(stored), len(stored)) for i in range(count)
    ]
    path = write_pack(tmp_path / "bombs.pack", objects, stored * count)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DamagedPack, match="unpacks to"):
        examine(path, Verify.ALL)
    tried("decompression bombs", count)


LIES: dict[str, list[PackedObject]] = {
    "an object behind the end": [PackedObject(CHUNK, 5, 0, HEADER_BYTES, 50)],
    "objects that overlap the index": [PackedObject(CHUNK, 5, 0, HEADER_BYTES, 5), PackedObject(CHUNK, 5, 0, 0, 30)],
    "an object of less than is there": [PackedObject(CHUNK, 5, 0, HEADER_BYTES, 4)],
    "an object larger than any": [PackedObject(CHUNK, OBJECT_BYTES_MAX + 1, 0, HEADER_BYTES, 5)],
    "raw bytes of another length": [PackedObject(CHUNK, 6, 0, HEADER_BYTES, 5)],
    "a codec that is none": [PackedObject(CHUNK, 5, 77, HEADER_BYTES, 5)],
    "a chunk in the place of a tree": [PackedObject(ObjectKey(ObjectKind.TREE, CHUNK.digest), 5, 0, HEADER_BYTES, 5)],
    "another digest": [PackedObject(ObjectKey(ObjectKind.CHUNK, Digest(bytes(32))), 5, 0, HEADER_BYTES, 5)],
}


@pytest.mark.parametrize("lie", LIES)
def test_an_index_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    path = tmp_path / "pack"
    data = encode_header(HEADER) + b"bytes" + encode_tail(HEADER, LIES[lie])
    path.write_bytes(data)
    with pytest.raises(ArtfsError) as refused:
        examine(path, Verify.ALL)
    assert isinstance(refused.value, Damaged) or refused.value.code == "newer-format"
    tried("indexes that lie")


@pytest.mark.parametrize("where", ["before the index", "behind the index"])
def test_a_pack_with_bytes_that_are_in_no_object_is_refused(tmp_path: Path, where: str) -> None:
    """Else a registry stores, and hands out, what nobody verified."""
    one, hidden = PackedObject(CHUNK, 5, 0, HEADER_BYTES, 5), b"hidden"
    path = tmp_path / "pack"
    if where == "before the index":
        tail = encode_tail(HEADER, [one._replace(offset=HEADER_BYTES + len(hidden))])
        path.write_bytes(encode_header(HEADER) + b"bytes" + hidden + tail)
    else:
        tail = encode_tail(HEADER, [one])
        path.write_bytes(encode_header(HEADER) + b"bytes" + tail[:-FOOTER_BYTES] + hidden + tail[-FOOTER_BYTES:])
    with pytest.raises(DamagedPack):
        examine(path, Verify.ALL)
    tried("indexes that lie")


def test_objects_never_overlap_since_an_index_has_lengths_and_no_offsets(tmp_path: Path) -> None:
    objects = [PackedObject(CHUNK, 5, 0, 0, 5), PackedObject(CHUNK, 5, 0, 0, 5)]
    tail = encode_tail(HEADER, [objects[0], objects[1]._replace(offset=HEADER_BYTES + 5)])
    path = tmp_path / "pack"
    path.write_bytes(encode_header(HEADER) + b"bytesbytes" + tail)
    with PackReader(path) as reader:
        places = [(one.offset, one.offset + one.stored_bytes) for one in reader.objects]
    assert places == [(HEADER_BYTES, HEADER_BYTES + 5), (HEADER_BYTES + 5, HEADER_BYTES + 10)]


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 2**63), (HEADER_BYTES, 2**64 - 1), (2**64 - 1, 10), (HEADER_BYTES, 20 << 20)]
)
def test_a_footer_that_points_elsewhere_is_refused(offset: int, length: int) -> None:
    footer = offset.to_bytes(8, "little") + length.to_bytes(8, "little") + bytes(32) + b"\nkpsftra"
    with pytest.raises(DamagedPack):
        decode_footer(footer, 1000)
    with pytest.raises(DamagedPack):
        decode_index(encode_header(HEADER), b"", footer)
    assert len(footer) == FOOTER_BYTES
    tried("footers that lie")


Place = list[Any]
PLACES: dict[str, Callable[[], Place]] = {
    "more bytes than there is memory": lambda: [0, 5, 0, 60, 1 << 50, 0, ""],
    "a size that no object has": lambda: [0, 1 << 50, 1, 60, 5, 0, ""],
    "a size below zero": lambda: [0, -5, 0, 60, 5, 0, ""],
    "an offset below zero": lambda: [0, 5, 0, -60, 5, 0, ""],
    "an offset beyond all files": lambda: [0, 5, 0, 1 << 80, 5, 0, ""],
    "a pack that is not named": lambda: [7, 5, 0, 60, 5, 0, ""],
    "a pack before the first": lambda: [-1, 5, 0, 60, 5, 0, ""],
    "a time that cannot be": lambda: [0, 5, 0, 60, 5, 1 << 70, ""],
    "times that are none": lambda: [0, 5, 0, 60, 5, 0, base64.b64encode(b"\x91" * 1000).decode()],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("url", ["/v1/projects/p/packs/00", "file:/etc/hostname", "http://127.0.0.1:1/x"])
def test_a_server_that_says_strange_places_gets_an_error(tmp_path: Path, place: str, url: str) -> None:
    """Also one that sends its clients to their own files, or to their own network without their token."""
    places = record({"packs": [url], "objects": [PLACES[place]()]})
    with scripted(places, answer(206, b"bytes", "application/octet-stream", content_range="bytes 60-64/100")) as server:
        registry = RemoteRegistry(server.url, "artfs_0_0", spool=tmp_path / "spool")
        reader = ObjectReader(registry, packs=HttpPacks(registry.transport))
        try:
            tree = ObjectKey(ObjectKind.TREE, CHUNK.digest)
            with pytest.raises((Unavailable, Damaged, ArtfsError)):
                reader.page("p", tree.digest)
        finally:
            registry.close()
    tried("places that cannot be")
