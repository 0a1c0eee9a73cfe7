"""The benchmark gives no number for what failed a check, names what is missing, and is right about what it counts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.bench.cases import Case, outdoes, reaches
from tests.bench.data import DataSet, Sizes, second_version, small_files, table_pair, tensor_pair
from tests.bench.measure import CheckFailed, Sample, machine_facts, race
from tests.bench.peers import MISSING, Tool
from tests.bench.reading import Order, read, read_all
from tests.bench.report import table
from tests.bench.repositories import same_trees
from tests.bench.run import nothing_yet, resumed
from tests.bench.world import Options

TINY = Sizes(small_files=20, small_directories=2, replaced_files=3, table_rows=6000, tensors=16)


@pytest.fixture
def files(tmp_path: Path) -> DataSet:
    return small_files(tmp_path / "files", TINY)


def lie() -> Sample:
    raise CheckFailed("these are not the bytes")


def report(case: Case) -> str:
    result = {"machine": machine_facts(), "quick": True, "repeat": 1, "latency_ms": 10, "failed_rows": {}}
    return table({**result, "versions": {"bindfs": MISSING}, "cases": [case.as_json()]})


def test_readers_together_read_everything_once(files: DataSet) -> None:
    for how in ({}, {"how": "in_order"}, {"how": "in_a_loader", "method": "fork"}):
        done = read(files.root, files, files.shuffled(1), processes=1 if how else 4, **how)
        assert (done.files, done.bytes) == (len(files.digests), files.size_bytes)


@pytest.mark.parametrize("how", ["one_by_one", "in_order"])
def test_a_reader_that_gets_another_byte_gives_no_number(files: DataSet, how: str) -> None:
    path = files.paths[7]
    data = bytearray((files.root / path).read_bytes())
    data[-1] ^= 1
    (files.root / path).write_bytes(data)
    with pytest.raises(CheckFailed, match=path):
        read(files.root, files, files.paths, processes=2, how=how)


def test_a_reader_that_finds_a_file_missing_gives_no_number(files: DataSet) -> None:
    (files.root / files.paths[0]).unlink()
    with pytest.raises(CheckFailed, match="No such file"):
        read_all([Order(files.root, files, files.paths)])


def test_a_slow_peer_takes_part_in_fewer_rounds_and_artfs_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.measure.SLOW_S", -1.0)
    found = race({"artfs": lambda: Sample(1.0), "slow": lambda: Sample(2.0)}, 5)
    assert {name: len(figure.samples) for name, figure in found.figures.items()} == {"artfs": 5, "slow": 2}


def test_who_fails_once_has_no_figure_and_keeps_its_reason() -> None:
    values = iter([1.0, 2.0, 9.0, 4.0])
    found = race({"artfs": lambda: Sample(next(values)), "liar": lie}, 3, warm_up=1)
    assert [sample.value for sample in found.figures["artfs"].samples] == [2.0, 9.0, 4.0]
    assert found.figures["artfs"].median == 4.0
    assert set(found.figures) == {"artfs"}
    assert "these are not the bytes" in found.refused["liar"]


def test_the_table_has_the_reason_where_a_number_is_missing() -> None:
    goals = (reaches(1, "1 file/s"), outdoes("bindfs", 2, "2 x bindfs"))
    shown = report(Case(2, "files", "files/s", race({"artfs": lie, "bindfs": lambda: Sample(7)}, 1), at_least=goals))
    assert "no number: CheckFailed: these are not the bytes" in shown
    assert "1 file/s: unknown, 2 x bindfs: unknown" in shown
    assert f"bindfs {MISSING}" in shown


def test_goals_are_judged_by_medians_of_the_same_run() -> None:
    found = race({"artfs": lambda: Sample(10), "bindfs": lambda: Sample(6)}, 1)
    goals = (reaches(10, "10"), outdoes("bindfs", 2, "2 x"), outdoes("JuiceFS", 3, "3 x"))
    case = Case(2, "files", "files/s", found, at_least=goals)
    assert [goal.met(found) for goal in goals] == [True, False, None]
    assert case.ratio("bindfs") == pytest.approx(10 / 6)
    assert Case(6, "put", "s", found, more_is_better=False).ratio("bindfs") == pytest.approx(0.6)


def test_a_tool_that_is_not_there_is_named_as_missing() -> None:
    tool = Tool("artfs-no-such-tool", ("--version",))
    assert tool.version() == MISSING
    with pytest.raises(CheckFailed, match="artfs-no-such-tool is missing"):
        _ = tool.command


def test_a_repository_that_gives_back_something_else_is_found_out(files: DataSet, tmp_path: Path) -> None:
    same_trees(files.root, files.root)
    copy = small_files(tmp_path / "copy", TINY)
    (copy.root / copy.paths[3]).write_bytes(b"")
    with pytest.raises(CheckFailed, match="other bytes"):
        same_trees(files.root, copy.root)
    (copy.root / copy.paths[3]).unlink()
    with pytest.raises(CheckFailed, match="other files"):
        same_trees(files.root, copy.root)


def test_data_are_the_same_in_every_run(tmp_path: Path) -> None:
    first, again, other = (small_files(tmp_path / str(i), TINY, seed=seed) for i, seed in enumerate((1, 1, 2)))
    assert first.digests == again.digests
    assert first.digests != other.digests
    sizes = [(first.root / path).stat().st_size for path in first.paths]
    assert all(8 << 10 <= size <= 16 << 10 for size in sizes)
    assert {hashlib.sha256((first.root / path).read_bytes()).hexdigest() for path in first.paths} == set(
        first.digests.values()
    )


def test_second_versions_differ_where_they_should(files: DataSet, tmp_path: Path) -> None:
    (files.root / "large.bin").write_bytes(bytes(3 << 20))
    second_version(files.root, tmp_path / "second", TINY)
    changed = [
        path for path in files.paths if (tmp_path / "second" / path).read_bytes() != (files.root / path).read_bytes()
    ]
    assert len(changed) == TINY.replaced_files
    assert (tmp_path / "second/large.bin").stat().st_size == (3 << 20) + 1000
    for before, after in (table_pair(tmp_path / "table", TINY), tensor_pair(tmp_path / "tensors", TINY)):
        assert before.name == after.name
        assert before.read_bytes() != after.read_bytes()
        assert abs(before.stat().st_size - after.stat().st_size) < 2000


def test_a_run_goes_on_only_with_what_was_measured_alike() -> None:
    options = Options(quick=True)
    earlier = nothing_yet(options) | {"cases": [{"row": 3}]}
    assert resumed(earlier, nothing_yet(options)) == earlier
    with pytest.raises(SystemExit, match="repeat was 5"):
        resumed(earlier, nothing_yet(Options(quick=True, repeat=2)))
    elsewhere = nothing_yet(options)
    elsewhere["machine"]["cpu"] = "8 x another"
    with pytest.raises(SystemExit, match="cpu was"):
        resumed(earlier, elsewhere)
