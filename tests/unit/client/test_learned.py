"""What is learned of starts: what counts as one, what begins it again, what is dropped, and what files may hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from artfs.client.learned.replay import PIECE_BYTES, pieces_of
from artfs.client.learned.start_files import StartFiles
from artfs.client.learned.starts import HEADS, OBJECTS_MAX, QUIET_S, STARTS_MAX, UNUSED_MAX, Learned, Start, Starts
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.wire.records import Location


def tree(name: str) -> ObjectKey:
    return ObjectKey(ObjectKind.TREE, Digest.of(name.encode()))


def chunk(name: str) -> ObjectKey:
    return ObjectKey(ObjectKind.CHUNK, Digest.of(name.encode()))


def place(offset: int = 0, size_bytes: int = 100, url: str = "/packs/1") -> Location:
    return Location(size_bytes, 0, url, offset, size_bytes, 7, b"times")


PROGRAM = [tree("root"), tree("lib"), *(chunk(f"m{i}") for i in range(100))]


class Watched:
    """Starts with a clock that tests move, and all that they had kept."""

    def __init__(self, known: Iterable[Start] = (), **options: int) -> None:
        self.now_s = 0.0
        self.kept: list[Start] = []
        self.places = {key: place(i * 100) for i, key in enumerate(PROGRAM)}
        self.starts = Starts(known, self.kept.append, monotonic_s=lambda: self.now_s, **options)

    def run(self, keys: list[ObjectKey]) -> list[Learned]:
        """One start, alone; returns what was worth fetching ahead."""
        self.now_s += QUIET_S + 1
        ahead = []
        for key in keys:
            self.starts.noted("p", [key])
            ahead += self.starts.begun("p", [key])
        self.starts.finish("p", lambda _, asked: {key: self.places[key] for key in asked if key in self.places})
        return ahead

    @property
    def learned(self) -> list[ObjectKey]:
        return keys_of(self.kept[-1].objects)


def keys_of(learned: list[Learned]) -> list[ObjectKey]:
    return [ObjectKey(ObjectKind(one.kind), Digest(one.digest)) for one in learned]


def test_what_was_asked_for_at_a_start_is_told_at_the_next_in_the_same_order() -> None:
    watched = Watched()
    assert watched.run(PROGRAM) == []
    assert watched.learned == PROGRAM
    ahead = watched.run([tree("root"), chunk("m0")])
    assert set(keys_of(ahead)) == set(PROGRAM)
    other = Watched(watched.kept)
    assert set(keys_of(other.run([chunk("m0")]))) == set(PROGRAM)


def test_names_begin_names_and_only_content_begins_content() -> None:
    watched = Watched()
    watched.run(PROGRAM)
    assert keys_of(watched.run([tree("root"), tree("lib")])) == [tree("root"), tree("lib")]
    assert keys_of(watched.starts.pages("p", tree("root"))) == [tree("root"), tree("lib")]
    assert watched.starts.pages("other", tree("root")) == []


def test_a_new_version_begins_what_was_learned_by_any_of_the_first_files_that_it_still_has() -> None:
    watched = Watched()
    watched.run(PROGRAM)
    assert chunk("m99") in keys_of(watched.run([tree("new root"), chunk("new m0"), chunk("m1")]))


@pytest.mark.parametrize(
    "asked",
    [
        [tree("root"), tree("lib"), tree("more"), tree("yet more")],
        [tree("root"), chunk("one file")],
        [chunk(f"of a data set {i}") for i in range(OBJECTS_MAX + 1)],
    ],
    ids=["only names", "a file", "a data set"],
)
def test_what_is_no_start_teaches_nothing(asked: list[ObjectKey]) -> None:
    watched = Watched()
    watched.run(asked)
    assert watched.kept == []


def test_what_is_larger_than_may_be_fetched_ahead_teaches_nothing() -> None:
    watched = Watched(bytes_max=100 * len(PROGRAM) - 1)
    watched.run(PROGRAM)
    assert watched.kept == []


def test_an_object_that_several_starts_do_without_is_dropped() -> None:
    watched = Watched()
    watched.run(PROGRAM)
    without = [key for key in PROGRAM if key != chunk("m50")]
    for _ in range(UNUSED_MAX):
        watched.run(without)
        assert chunk("m50") in watched.learned
    watched.run(without)
    assert watched.learned == without


def test_looking_at_names_makes_nothing_older() -> None:
    watched = Watched()
    watched.run(PROGRAM)
    for _ in range(UNUSED_MAX + 2):
        watched.run([tree("root"), tree("lib"), tree("more"), tree("yet more")])
    assert len(watched.kept) == 1


def test_a_file_from_the_middle_begins_nothing() -> None:
    watched = Watched()
    watched.run(PROGRAM)
    assert watched.run([chunk(f"m{HEADS}")]) == []


def test_content_after_a_long_look_at_names_is_still_a_start() -> None:
    watched = Watched()
    watched.starts.noted("p", [tree("root")])
    watched.now_s += 1000
    assert watched.starts.noted("p", [chunk("m0")])
    assert not watched.starts.noted("p", [chunk("m1")])


def test_places_are_remembered_without_times_and_signed_ones_not_at_all() -> None:
    watched = Watched()
    watched.places[chunk("m1")] = place(url="https://bucket/1?signature=x")
    watched.run(PROGRAM)
    by_key = dict(zip(watched.learned, watched.kept[0].objects, strict=True))
    assert by_key[chunk("m1")].place is None
    found = by_key[tree("root")].place
    assert found is not None
    assert found.times == b""


def test_a_place_that_is_not_known_now_stays_as_it_was() -> None:
    watched = Watched()
    watched.run(PROGRAM)
    before = watched.kept[0].objects
    watched.places.clear()
    watched.run(PROGRAM)
    assert watched.kept[1].objects == before


def test_ranges_are_short_and_those_needed_first_come_first() -> None:
    wanted = {chunk(f"m{i}"): place((99 - i) * 20_000, 20_000) for i in range(100)}
    pieces = pieces_of(wanted)
    assert all(piece.end - piece.offset <= PIECE_BYTES for piece in pieces)
    assert {key for piece in pieces for key, _ in piece.extras} == set(wanted)
    assert chunk("m0") in dict(pieces[0].extras)
    assert chunk("m99") in dict(pieces[-1].extras)


# files


def _start(number: int) -> Start:
    return Start(f"p {number}", "p", [Learned(int(ObjectKind.CHUNK), bytes(chunk("x").digest), place())])


def test_starts_survive_in_files_the_latest_last(tmp_path: Path) -> None:
    files = StartFiles(tmp_path / "learned")
    assert list(files.load()) == []
    for number in (1, 2, 1):
        files.keep(_start(number))
    assert [start.name for start in StartFiles(tmp_path / "learned").load()] == ["p 2", "p 1"]


def test_only_so_many_files_are_kept(tmp_path: Path) -> None:
    files = StartFiles(tmp_path)
    for number in range(STARTS_MAX + 5):
        files.keep(_start(number))
    assert len(list(tmp_path.iterdir())) == STARTS_MAX


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\x92\x01\x90", b"\xff" * 100, b"\x92\x02", bytes(5 << 20)])
def test_a_damaged_file_is_removed_and_the_others_are_read(tmp_path: Path, damage: bytes) -> None:
    files = StartFiles(tmp_path)
    files.keep(_start(1))
    (path,) = tmp_path.iterdir()
    bad = tmp_path / "0.start"
    bad.write_bytes(damage)
    assert [start.name for start in files.load()] == ["p 1"]
    assert list(tmp_path.iterdir()) == [path]
    for at in range(0, len(path.read_bytes()), 7):  # whatever is changed in it, it is read or removed
        data = bytearray(path.read_bytes())
        data[at] ^= 0x55
        bad.write_bytes(data)
        assert len(list(files.load())) <= 2
        bad.unlink(missing_ok=True)


def test_a_directory_that_cannot_be_written_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = StartFiles(tmp_path / "file")
    files.keep(_start(1))
    assert list(files.load()) == []
