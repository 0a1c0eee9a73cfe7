"""Every kind of damage that can be inflicted on a registry is found, named, traced to versions, and mended as far as can be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from artfs.errors import DamagedDatabase, NewerFormat, ObjectMissing
from artfs.model.pack import FOOTER_BYTES, HEADER_BYTES
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.findings import KINDS, Report
from artfs.registry.fsck import check
from artfs.registry.repair import repair
from artfs.store.pack_file import PackReader
from artfs.wire.records import SealRequest
from tests.contract.uploading import Clock, Content, commit, content_of, fetch, send
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("verified")]

FIRST = content_of(
    {"a": b"first " * 50, "d": {"b": b"second " * 50}, "big": bytes(range(256)) * 400}, large_bytes=50_000
)
SECOND = content_of({"a": b"first " * 50, "new": b"third " * 50})


class Victim:
    """A closed registry with `vision/bikes` v0 (FIRST, alias `best`) and v1 (SECOND), a pack each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        with self.opened() as registry:
            self.uid = registry.projects.create("vision").uid
            commit(registry, "vision", "bikes", FIRST, "best")
            commit(registry, "vision", "bikes", SECOND)
            self.packs = [
                Path(location.url.removeprefix("file:"))
                for content in (FIRST, SECOND)
                for location in registry.objects.locate("vision", [content.root_key])
                if location is not None
            ]

    def opened(self) -> _Opened:
        return _Opened(self.root, self.clock)

    def sql(self, *statements: str) -> None:
        """Change the database as nobody should."""
        connection = apsw.Connection(str(self.root / "registry.db"))
        connection.pragma("foreign_keys", False)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def check(self, *, deep: bool = True) -> Report:
        return check(self.root, deep=deep, clock=self.clock)

    def codes(self, *, deep: bool = True) -> list[str]:
        return sorted({finding.code for finding in self.check(deep=deep).findings})


class _Opened:
    def __init__(self, root: Path, clock: Clock) -> None:
        self._registry = EmbeddedRegistry(root, clock=clock)

    def __enter__(self) -> EmbeddedRegistry:
        return self._registry

    def __exit__(self, *_: object) -> None:
        self._registry.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    return Victim(tmp_path_factory.mktemp("sound") / "registry")


@pytest.fixture
def victim(sound: Victim, tmp_path: Path) -> Victim:
    copy = object.__new__(Victim)
    copy.root = tmp_path / "registry"
    shutil.copytree(sound.root, copy.root)
    copy.clock, copy.uid = Clock(sound.clock.now_ns), sound.uid
    copy.packs = [copy.root / pack.relative_to(sound.root) for pack in sound.packs]
    return copy


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0xFF]))


def chunk_offset(pack: Path, content: Content, data: bytes) -> int:
    with PackReader(pack) as reader:
        return next(p.offset for p in reader.objects if content.objects.get(p.key) == data)


def test_a_sound_registry_has_no_findings(victim: Victim) -> None:
    report = victim.check()
    assert report.findings == []
    assert (report.pack_count, report.object_count) == (2, len(FIRST.objects | SECOND.objects))
    assert report.is_clean


def test_a_damaged_chunk_is_found_by_a_deep_check_only(victim: Victim) -> None:
    flip(victim.packs[0], chunk_offset(victim.packs[0], FIRST, b"first " * 50) + 12)
    assert victim.codes(deep=False) == []
    (finding,) = victim.check().findings
    assert (finding.code, finding.affected) == ("object-damaged", ("vision/bikes:v0", "vision/bikes:v1"))


def remove_pack(victim: Victim) -> None:
    victim.packs[1].unlink()


def cut_pack(victim: Victim) -> None:
    os.truncate(victim.packs[1], victim.packs[1].stat().st_size - 1)


def empty_pack(victim: Victim) -> None:
    os.truncate(victim.packs[1], 0)


def damage_header(victim: Victim) -> None:
    flip(victim.packs[1], 0)


def damage_footer(victim: Victim) -> None:
    flip(victim.packs[1], victim.packs[1].stat().st_size - 1)


def damage_index(victim: Victim) -> None:
    flip(victim.packs[1], victim.packs[1].stat().st_size - FOOTER_BYTES - 3)


def damage_time(victim: Victim) -> None:
    flip(victim.packs[1], HEADER_BYTES - 1)


def claim_newer(victim: Victim) -> None:
    flip(victim.packs[1], 9)


def swap_packs(victim: Victim) -> None:
    spare = victim.root / "spare"
    victim.packs[0].rename(spare)
    victim.packs[1].rename(victim.packs[0])
    spare.rename(victim.packs[1])


def damage_tree(victim: Victim) -> None:
    with PackReader(victim.packs[1]) as reader:
        tree = next(placed for placed in reader.objects if placed.key == SECOND.root_key)
    flip(victim.packs[1], tree.offset + tree.stored_bytes // 2)


def add_stray_pack(victim: Victim) -> None:
    shutil.copy(victim.packs[0], victim.packs[0].with_name(victim.packs[0].name[:2] + "0" * 30 + ".pack"))


def add_stray_file(victim: Victim) -> None:
    (victim.packs[0].parent / "notes.txt").write_text("x")


def leave_upload(victim: Victim) -> None:
    path = victim.root / "spool" / "left.pack"
    path.write_bytes(b"x")
    os.utime(path, ns=(0, 0))


def remove_marker(victim: Victim) -> None:
    (victim.root / "artfs-registry").unlink()


def damage_marker(victim: Victim) -> None:
    (victim.root / "artfs-registry").write_text("{")


def remove_database(victim: Victim) -> None:
    for path in victim.root.glob("registry.db*"):
        path.unlink()


def overwrite_database(victim: Victim) -> None:
    (victim.root / "registry.db").write_bytes(b"x" * 8192)


def damage_database_page(victim: Victim) -> None:
    with (victim.root / "registry.db").open("r+b") as file:
        for page in range(4, 30):
            file.seek(page * 4096)
            file.write(b"\x55" * 64)


def expire_draft(victim: Victim) -> None:
    with victim.opened() as registry:
        draft = registry.drafts.open("vision")
        send(registry, draft, content_of({"left": b"behind"}))
    victim.clock.advance_s(25 * 3600)


def forget_record(victim: Victim) -> None:
    (victim.root / "records" / "vision" / "bikes" / "v0.json").unlink()


def sql(*statements: str) -> Callable[[Victim], None]:
    return lambda victim: victim.sql(*statements)


_CHUNK = "(SELECT id FROM objects WHERE kind = 1 ORDER BY id LIMIT 1)"
_ROOT = "(SELECT root FROM versions WHERE number = 1)"

DAMAGES: list[tuple[Callable[[Victim], None], set[str]]] = [
    (remove_pack, {"pack-missing"}),
    (cut_pack, {"pack-short"}),
    (empty_pack, {"pack-short", "object-damaged"}),
    (damage_header, {"pack-header-damaged"}),
    (damage_footer, {"pack-short"}),
    (damage_index, {"pack-index-damaged"}),
    (damage_time, {"pack-index-damaged"}),
    (claim_newer, {"pack-newer"}),
    (swap_packs, {"pack-swapped"}),
    (damage_tree, {"object-damaged"}),
    (add_stray_pack, {"stray-file"}),
    (add_stray_file, {"stray-file"}),
    (leave_upload, {"spool-leftover"}),
    (remove_marker, {"marker-missing"}),
    (damage_marker, {"marker-damaged"}),
    (remove_database, {"database-missing"}),
    (overwrite_database, {"database-damaged"}),
    (damage_database_page, {"database-damaged"}),
    (expire_draft, {"draft-expired", "objects-unreachable"}),
    (forget_record, {"record-stale"}),
    (sql(f"UPDATE objects SET start = start + 1 WHERE id = {_CHUNK}"), {"object-misplaced"}),
    (sql(f"UPDATE objects SET codec = 1 - codec WHERE id = {_CHUNK}"), {"object-misplaced"}),
    (
        sql(f"DELETE FROM objects WHERE id = {_CHUNK}"),
        {"child-missing", "database-inconsistent", "pack-untidy"},
    ),
    (sql(f"DELETE FROM objects WHERE id = {_ROOT}"), {"version-root-missing", "database-inconsistent", "pack-untidy"}),
    (sql(f"DELETE FROM edges WHERE parent = {_ROOT}"), {"edges-wrong", "objects-unreachable"}),
    (sql(f"UPDATE summaries SET size = size + 1 WHERE object = {_ROOT}"), {"summary-wrong"}),
    (sql(f"UPDATE summaries SET times = x'9192cd0bb80a' WHERE object = {_ROOT}"), {"times-wrong"}),
    (sql("UPDATE aliases SET version = 7 WHERE alias = 'best'"), {"alias-dangling", "row-damaged"}),
    (
        sql("DELETE FROM versions WHERE number = 0", "DELETE FROM aliases WHERE version = 0"),
        {"objects-unreachable", "record-stale"},
    ),
    (sql("UPDATE versions SET description = 'x' WHERE number = 1"), {"row-damaged", "record-stale"}),
    (
        sql(f"UPDATE versions SET root = {_ROOT} WHERE number = 0"),
        {"row-damaged", "record-stale", "objects-unreachable"},
    ),
    (sql("UPDATE aliases SET version = 1 WHERE alias = 'best'"), {"row-damaged"}),
    (sql("UPDATE packs SET state = 'lost'"), {"object-lost"}),
    (sql("UPDATE packs SET state = 'dirty'"), {"cleaning-due"}),
]


@pytest.mark.parametrize(("inflict", "codes"), DAMAGES)
def test_each_kind_of_damage_is_named(victim: Victim, inflict: Callable[[Victim], None], codes: set[str]) -> None:
    inflict(victim)
    assert set(victim.codes()) == codes


def test_the_damages_inflicted_here_cover_all_kinds() -> None:
    assert set().union(*(codes for _, codes in DAMAGES)) == set(KINDS)


@pytest.mark.parametrize("inflict", [remove_pack, swap_packs, damage_tree, cut_pack])
def test_damage_names_the_versions_that_it_reaches(victim: Victim, inflict: Callable[[Victim], None]) -> None:
    inflict(victim)
    expected = {
        "remove_pack": ["vision/bikes:v1"],
        "swap_packs": ["vision/bikes:v0", "vision/bikes:v1"],
        "damage_tree": ["vision/bikes:v1"],
        "cut_pack": [],  # only the end is gone: every object is still there
    }
    assert victim.check().affected == expected[inflict.__name__]


MENDED = [
    (inflict, codes)
    for inflict, codes in DAMAGES
    if inflict not in (claim_newer,)
    and codes != {"object-lost"}
    and not codes & {"objects-unreachable"} - {"edges-wrong"}
]


@pytest.mark.parametrize(("inflict", "codes"), MENDED)
def test_repair_mends_all_but_what_is_lost(victim: Victim, inflict: Callable[[Victim], None], codes: set[str]) -> None:
    inflict(victim)
    repaired = repair(victim.root, clock=victim.clock)
    assert set(victim.codes()) <= {"object-lost"}
    with victim.opened() as registry:
        for number, content in enumerate((FIRST, SECOND)):
            version = registry.versions.resolve("vision", "bikes", f"v{number}")
            assert version.root == content.root
            for key, data in content.objects.items():
                found = fetch(registry, "vision", key)
                assert found == data or (found is None and version.name in str(repaired.affected))
        assert registry.aliases.list("vision", "bikes") == {"best": 0, "latest": 1}
        assert registry.projects.get("vision").uid == victim.uid


@pytest.mark.parametrize("inflict", [remove_pack, damage_tree, empty_pack, swap_packs])
def test_what_was_lost_is_whole_again_once_it_is_sent_again(victim: Victim, inflict: Callable[[Victim], None]) -> None:
    inflict(victim)
    repair(victim.root, clock=victim.clock)
    with victim.opened() as registry:
        for content in (FIRST, SECOND):
            draft = registry.drafts.open("vision")
            send(registry, draft, content)
            registry.drafts.seal(draft.id, SealRequest("again", content.root))
        assert registry.versions.resolve("vision", "bikes", "v1").size_bytes == SECOND.size_bytes
    assert victim.codes() == []


def test_a_lost_object_is_missing_not_wrong(victim: Victim) -> None:
    flip(victim.packs[1], chunk_offset(victim.packs[1], SECOND, b"third " * 50) + 12)
    repaired = repair(victim.root, clock=victim.clock)
    assert (repaired.lost_object_count, repaired.affected) == (1, ("vision/bikes:v1",))
    lost = next(key for key, data in SECOND.objects.items() if data == b"third " * 50)
    with victim.opened() as registry:
        assert fetch(registry, "vision", lost) is None
        assert fetch(registry, "vision", SECOND.root_key) is not None
        draft = registry.drafts.open("vision")
        assert registry.drafts.missing(draft.id, [lost]) == [lost]
    assert victim.codes() == ["object-lost"]
    assert len(list((victim.root / "quarantine").iterdir())) == 1


def test_a_lost_root_is_not_sealed(victim: Victim) -> None:
    damage_tree(victim)
    repair(victim.root, clock=victim.clock)
    with victim.opened() as registry:
        draft = registry.drafts.open("vision")
        with pytest.raises(ObjectMissing):
            registry.drafts.seal(draft.id, SealRequest("bikes", SECOND.root))


def test_without_database_and_records_all_trees_become_versions_again(victim: Victim) -> None:
    remove_database(victim)
    shutil.rmtree(victim.root / "records")
    for _ in range(2):  # a second repair must not take for garbage what the first one saved
        repair(victim.root, clock=victim.clock)
        with victim.opened() as registry:
            (project,) = registry.projects.list()
            assert project.uid == victim.uid
            found = {v.root: (v.size_bytes, v.file_count) for v in registry.versions.list(project.name, "recovered")}
            assert found == {c.root: (c.size_bytes, c.file_count) for c in (FIRST, SECOND)}
            for key, data in (FIRST.objects | SECOND.objects).items():
                assert fetch(registry, project.name, key) == data
    assert victim.codes() == []


def test_a_lost_tree_keeps_what_was_below_it(victim: Victim) -> None:
    damage_tree(victim)
    repair(victim.root, clock=victim.clock)
    with victim.opened() as registry:
        below = [key for key in SECOND.objects if key != SECOND.root_key]
        assert all(fetch(registry, "vision", key) is not None for key in below)
        version = registry.versions.resolve("vision", "bikes", "v1")
        assert (version.size_bytes, version.file_count) == (SECOND.size_bytes, SECOND.file_count)
        draft = registry.drafts.open("vision")
        assert send(registry, draft, SECOND) == [SECOND.root_key]
        registry.drafts.abandon(draft.id)
    assert victim.codes() == []


def test_a_registry_without_its_marker_is_not_taken_for_a_new_one(victim: Victim) -> None:
    remove_marker(victim)
    with pytest.raises(DamagedDatabase):
        victim.opened()


@pytest.mark.parametrize("gone", [True, False])
def test_a_registry_that_lost_its_database_is_not_taken_for_a_new_one(victim: Victim, gone: bool) -> None:
    remove_database(victim)
    if not gone:
        (victim.root / "registry.db").touch()
    with pytest.raises(DamagedDatabase, match="gone or empty"):
        victim.opened()
    assert set(victim.codes()) <= {"database-missing", "database-damaged"}
    repair(victim.root, clock=victim.clock)
    with victim.opened() as registry:
        assert registry.aliases.list("vision", "bikes") == {"best": 0, "latest": 1}


def test_a_damaged_alias_of_which_no_record_tells_is_dropped(victim: Victim) -> None:
    victim.sql("UPDATE aliases SET version = 1 WHERE alias = 'best'")
    (victim.root / "records/vision/bikes/artifact.json").unlink()
    assert any("dropped the alias" in action for action in repair(victim.root, clock=victim.clock).actions)
    with victim.opened() as registry:
        assert registry.aliases.list("vision", "bikes") == {"latest": 1}
    assert victim.codes() == []


def test_an_older_database_is_named(victim: Victim) -> None:
    shutil.copy(victim.root / "registry.db", victim.root.parent / "older.db")
    with victim.opened() as registry:
        commit(registry, "vision", "bikes", {"x": b"y"})
    shutil.copy(victim.root.parent / "older.db", victim.root / "registry.db")
    assert "record-stale" in victim.codes()


def is_told(victim: Victim, ask: Callable[[EmbeddedRegistry], object]) -> bool:
    with victim.opened() as registry:
        try:
            ask(registry)
        except DamagedDatabase:
            return False
        return True


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE versions SET root = (SELECT root FROM versions WHERE number = 1) WHERE number = 0",
        "UPDATE versions SET metadata = '{\"a\":1}' WHERE number = 0",
        "UPDATE versions SET expires_at = 1 WHERE number = 0",
        "UPDATE versions SET created_by = 'x' WHERE number = 0",
        f"UPDATE objects SET digest = zeroblob(32) WHERE id = {_ROOT.replace('1)', '0)')}",
        "UPDATE artifacts SET name = 'bikez'",
        "UPDATE projects SET uid = zeroblob(16)",
        "UPDATE aliases SET version = 1 WHERE alias = 'best'",
        "UPDATE versions SET description = cast(x'fb' AS TEXT) WHERE number = 0",
        "UPDATE alias_moves SET version = 1 WHERE alias = 'best'",
        "UPDATE alias_moves SET seq = seq + 1 WHERE alias = 'best'",
    ],
)
def test_a_row_that_means_something_else_is_an_error(victim: Victim, change: str) -> None:
    victim.sql(change)
    artifact = "bikez" if "bikez" in change else "bikes"

    def ask(registry: EmbeddedRegistry) -> object:
        position = registry.changes.position() + 1
        return [
            registry.versions.resolve("vision", artifact, "v0"),
            registry.aliases.list("vision", artifact),
            registry.aliases.list("vision", artifact, as_of=position),
        ]

    assert not is_told(victim, ask)
    tried("a row of the catalog that means something else")


def test_the_identity_survives_the_loss_of_the_marker(victim: Victim) -> None:
    with victim.opened() as registry:
        identity = registry.identity
    remove_marker(victim)
    repair(victim.root, clock=victim.clock)
    with victim.opened() as registry:
        assert registry.identity == identity


def test_numbers_are_not_given_twice_after_a_restoration(victim: Victim) -> None:
    with victim.opened() as registry:
        registry.versions.delete("vision", "bikes", [1], delete_aliases=True)
        position = registry.changes.position()
    remove_database(victim)
    repair(victim.root, clock=victim.clock)
    with victim.opened() as registry:
        assert registry.changes.position() > position
        assert commit(registry, "vision", "bikes", {"x": b"y"}).version.number == 2


def test_a_newer_database_is_refused(victim: Victim) -> None:
    victim.sql("INSERT INTO migrations (number) VALUES (9999)")
    with pytest.raises(NewerFormat):
        victim.opened()


def test_a_newer_registry_is_refused(victim: Victim) -> None:
    (victim.root / "artfs-registry").write_text('{"format": 2, "identity": "x"}')
    with pytest.raises(NewerFormat):
        victim.opened()
