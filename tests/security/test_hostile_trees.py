"""Trees that a hostile server, or a hostile uploader past it, makes up: each is refused as damage, soon and in little memory.

Cycles cannot be made, since a digest would have to be known before what it is of. What can be made is a small directory that
stands for a huge one, by holding the same directory many times.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from artfs.client.get import Getter
from artfs.client.trees import TreeReader
from artfs.errors import Damaged, DamagedObject, NewerFormat
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import decode_recipe
from artfs.model.tree import Entry, EntryKind, decode_page, encode_index, encode_leaf, symlink_entry
from artfs.model.tree import PageSummary as Summary
from artfs.wire.times import PageTimes
from tests.contract.uploading import content_of
from tests.reliability.trials import tried
from tests.unit.client.memory_source import MemorySource

pytestmark = [pytest.mark.usefixtures("little_memory"), pytest.mark.falsifies("hostile")]

encode = msgspec.msgpack.encode

HOSTILE_NAMES = [
    *(
        "",
        ".",
        "..",
        "/",
        "a/b",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a\0b",
        "\0",
        "x" * 256,
        "é" * 128,
        "\U0001f6b2" * 64,
    ),
]
LOOK_ALIKES = [
    "café",
    "cafe\u0301",
    "admin",
    "аdmin",
    "a",
    "a ",
    "a\u200b",
    "A",
    "\u202etxt.exe",
    ".. ",
    "...",
    "\n",
    "-rf",
    "\x1b[2J",
]


def leaf(**columns: object) -> bytes:
    """The page of one file `a`, with other columns as given: what no encoder of ours would write."""
    page: dict[str, object] = {
        "format": 1, "level": 0, "names": ["a"], "kinds": b"\1", "sizes": [1], "digests": bytes(32),
        "file_counts": [], "targets": [], "xattrs": {},
    }  # fmt: skip
    return encode(list({**page, **columns}.values()))


def index(**columns: object) -> bytes:
    page: dict[str, object] = {
        "format": 1, "level": 1, "firsts": ["a"], "digests": bytes(32), "counts": [1], "sizes": [1], "files": [1],
    }  # fmt: skip
    return encode(list({**page, **columns}.values()))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_that_leads_elsewhere_is_no_name(name: str) -> None:
    with pytest.raises(DamagedObject):
        decode_page(leaf(names=[name]))
    tried("hostile names")


def test_a_name_that_is_no_text_is_no_name() -> None:
    for raw in (b"\xff", b"\xed\xa0\x80", b"a\x80", b"\xc0\xae\xc0\xae"):
        with pytest.raises(DamagedObject):
            decode_page(leaf(names=["a"]).replace(b"\xa1a", bytes([0xA0 | len(raw)]) + raw))
        tried("hostile names")


def test_names_that_look_alike_are_different_names_and_all_come_out(tmp_path: Path) -> None:
    """Nothing is normalized: what Linux tells apart is told apart, and nothing replaces anything else."""
    content = content_of({name: name.encode() for name in LOOK_ALIKES})
    Getter(MemorySource(content.objects), "p").get_tree(content.root, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == sorted(LOOK_ALIKES)
    assert all((tmp_path / "out" / name).read_text() == name for name in LOOK_ALIKES)
    tried("names that look alike", len(LOOK_ALIKES))


@pytest.mark.parametrize("kinds", [0, 6, 7, 8, 9, 15, 0x13, 0x14, 0x20, 0x21, 0x41, 0x81, 0xFF])
def test_there_is_no_kind_for_devices_setuid_or_anything_unknown(kinds: int) -> None:
    """A kind is one of five, and its one flag is `executable`: there is no room for a device, an owner or a set-user-id bit."""
    with pytest.raises(DamagedObject):
        decode_page(leaf(kinds=bytes([kinds])))
    tried("kinds that are none")


PAGES: dict[str, Callable[[], bytes]] = {
    "a size below zero": lambda: leaf(sizes=[-1]),
    "a size that no file has": lambda: leaf(sizes=[2**63]),
    "sizes that add up to more than can be": lambda: leaf(
        names=["a", "b"], kinds=b"\1\1", sizes=[2**62, 2**62], digests=bytes(64)
    ),
    "a directory of more files than can be": lambda: leaf(kinds=b"\3", file_counts=[2**63]),
    "fewer digests than names": lambda: leaf(digests=b""),
    "half a digest": lambda: leaf(digests=bytes(31)),
    "a link without a target": lambda: leaf(kinds=b"\4"),
    "a link to another target than it says": lambda: leaf(kinds=b"\4", targets=["b"]),
    "attributes of no entry": lambda: leaf(xattrs={7: {"a": b""}}),
    "names twice": lambda: leaf(names=["a", "a"], kinds=b"\1\1", sizes=[1, 1], digests=bytes(64)),
    "an index of nothing": lambda: index(firsts=[], digests=b"", counts=[], sizes=[], files=[]),
    "an index too deep": lambda: index(level=9),
    "an index below zero": lambda: index(level=-1),
    "a page of no entries": lambda: index(counts=[0]),
    "pages of more entries than can be": lambda: index(counts=[2**63]),
    "pages of more bytes than can be": lambda: index(
        firsts=["a", "b"], digests=bytes(64), counts=[1, 1], sizes=[2**62] * 2, files=[1, 1]
    ),
    "lists in lists without end": lambda: b"\x91" * 100_000,
    "a page in lists without end": lambda: b"\x99\x01\x00" + b"\x91" * 100_000,
    "a list that says it is long": lambda: b"\x99\x01\x00\xdd\xff\xff\xff\xff",
    "a text that says it is long": lambda: b"\x99\x01\x00\x91\xdb\xff\xff\xff\xff",
    "a map that says it is large": lambda: leaf()[:-1] + b"\xdf\xff\xff\xff\xff",
}


@pytest.mark.parametrize("what", PAGES)
def test_a_page_that_nobody_would_write_is_damage(what: str) -> None:
    with pytest.raises(DamagedObject):
        decode_page(PAGES[what]())
    tried("pages that cannot be")


def test_the_pages_here_are_refused_for_what_is_said() -> None:
    decode_page(leaf())
    decode_page(index())


@pytest.mark.parametrize(
    "columns",
    [
        (1, bytes(32), [1, 2**63], bytes(64)),
        (1, bytes(32), [2**62, 2**62], bytes(64)),
        (1, bytes(32), [1, 0], bytes(64)),
        (1, bytes(32), [1, -1], bytes(64)),
        (1, bytes(31), [1, 1], bytes(64)),
        (1, bytes(32), [1, 1], bytes(63)),
        (2, bytes(32), [1, 1], bytes(64)),
    ],
)
def test_a_recipe_that_nobody_would_write_is_damage(columns: tuple[object, ...]) -> None:
    with pytest.raises((DamagedObject, NewerFormat)):
        decode_recipe(encode(columns))
    tried("recipes that cannot be")


def test_times_that_cannot_be_are_damage() -> None:
    """They come with the places of pages, and are in no digest: a server may say what it likes."""
    for times in (
        b"\xff",
        b"\x91" * 100_000,
        encode([(0, 1)]),
        encode([(-1, 1)]),
        encode([(1, 2**63)]),
        encode([(1, -1)]),
    ):
        with pytest.raises(DamagedObject):
            PageTimes(times, 0)
        tried("times that cannot be")


def _only(entry: Entry, objects: dict[ObjectKey, bytes]) -> tuple[MemorySource, Digest]:
    page = encode_leaf([entry])
    root = Digest.of(page)
    return MemorySource({**objects, ObjectKey(ObjectKind.TREE, root): page}), root


@pytest.mark.parametrize("told", [0, 4, 6, 1 << 40])
def test_a_file_of_another_length_than_its_directory_says_does_not_come_out(tmp_path: Path, told: int) -> None:
    chunk = ObjectKey(ObjectKind.CHUNK, Digest.of(b"bytes"))
    source, root = _only(Entry("f", EntryKind.FILE, chunk.digest, told), {chunk: b"bytes"})
    with pytest.raises(Damaged):
        Getter(source, "p").get_tree(root, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    tried("sizes that lie")


def test_an_index_that_lies_about_its_pages_is_damage() -> None:
    page = encode_leaf([Entry(name, EntryKind.FILE, Digest.of(b""), 0) for name in ("a", "b")])
    below = ObjectKey(ObjectKind.TREE, Digest.of(page))
    for level, first, count in ((1, "a", 2**60), (1, "a", 1), (1, "b", 2), (3, "a", 2)):
        told = encode_index(level, [first], [Summary(below.digest, count, 0, count)])
        root = Digest.of(told)
        source = MemorySource({below: page, ObjectKey(ObjectKind.TREE, root): told})
        with pytest.raises(Damaged):
            list(TreeReader(source, "p").list(root))
        tried("indexes that lie")


def test_a_directory_of_directories_that_all_are_one_says_how_much_it_is() -> None:
    """Forty small pages are a trillion files. They are listed as far as somebody reads, and counted without being read."""
    page = encode_leaf([])
    objects = {ObjectKey(ObjectKind.TREE, Digest.of(page)): page}
    digest, count = Digest.of(page), 1
    for _ in range(40):
        entries = [Entry(name, EntryKind.DIRECTORY, digest, count, file_count=count) for name in ("a", "b")]
        page, count = encode_leaf(entries), count * 2
        digest = Digest.of(page)
        objects[ObjectKey(ObjectKind.TREE, digest)] = page
    source = MemorySource(objects)
    assert [found.entry.file_count for found in TreeReader(source, "p").list(digest)] == [1 << 39] * 2
    assert len(source.pages_read) == 1


def test_links_come_out_as_links_and_nothing_is_written_through_them(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for target in (str(outside), "../outside", "a/../../outside", ".", "..", "/proc/self/root" + str(outside)):
        source, root = _only(symlink_entry("d", target), {})
        Getter(source, "p").get_tree(root, tmp_path / "out")
        assert os.readlink(tmp_path / "out/d") == target
        content = content_of({"d": {"f": b"evil"}})
        Getter(MemorySource(content.objects), "p").get_tree(content.root, tmp_path / "out")
        assert (tmp_path / "out/d/f").read_bytes() == b"evil"
        assert list(outside.iterdir()) == []
        assert sorted(os.listdir(tmp_path)) == ["out", "outside"]
        tried("links that lead out")
        (tmp_path / "out/d/f").unlink()
        (tmp_path / "out/d").rmdir()
