"""artfs reads the tables that wandb writes, and writes what wandb reads.

`files/` was written by the wandb that `files/VERSION` names (see exchange.py).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from artfs.api.data_types import PartitionedTable, Table
from tests.unit.api.files import MemoryFiles, written
from tests.wandb.cases import ARRAYS, CASES, ONLY_OURS, PARTS, Case
from tests.wandb.client import INSTALL_S, installed

ROOT = Path(__file__).parents[2]
FILES = Path(__file__).parent / "files"
READ_S = 120


@pytest.fixture(scope="module")
def theirs() -> MemoryFiles:
    found = [path for path in FILES.rglob("*") if path.is_file()]
    return MemoryFiles({path.relative_to(FILES).as_posix(): path.read_bytes() for path in found})


def ours(case: Case) -> Table:
    return Table(columns=case.columns, data=case.rows, **case.more)


def test_the_files_tell_who_wrote_them(theirs: MemoryFiles) -> None:
    assert theirs.contents["VERSION"] == b"wandb 0.31.0\n"


@pytest.mark.parametrize("name", CASES)
def test_artfs_reads_a_table_of_wandb(theirs: MemoryFiles, name: str) -> None:
    table = theirs.get(f"{name}.table.json")
    case = CASES[name]
    assert table.columns == case.columns
    assert table.data == (case.rows if case.kept is None else case.kept)
    assert table == ours(case)


@pytest.mark.parametrize("name", CASES)
def test_artfs_writes_a_table_as_wandb_does(theirs: MemoryFiles, name: str) -> None:
    told, expected = written(ours(CASES[name])), theirs.contents[f"{name}.table.json"]
    if CASES[name].same_bytes:
        assert told == expected
    else:
        assert json.loads(told) == without_lengths(json.loads(expected))


def without_lengths(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: without_lengths(value) for key, value in told.items() if key != "length"}
    return [without_lengths(one) for one in told] if isinstance(told, list) else told


def test_artfs_reads_arrays_that_wandb_keeps_beside_the_table(theirs: MemoryFiles) -> None:
    assert theirs.get("arrays.table.json").get_column("a") == ARRAYS


def test_artfs_reads_and_writes_a_partitioned_table_as_wandb_does(theirs: MemoryFiles) -> None:
    table = theirs.get("all.partitioned-table.json")
    assert [row for _, row in table.iterrows()] == [row for rows in PARTS.values() for row in rows]
    assert written(PartitionedTable("parts")) == theirs.contents["all.partitioned-table.json"]


@pytest.mark.deep
@pytest.mark.timeout(INSTALL_S + READ_S)
def test_wandb_reads_what_artfs_writes(tmp_path: Path) -> None:
    """With the wandb that wrote the files, from the package index."""
    python = installed((FILES / "VERSION").read_text().split()[1])
    files = MemoryFiles()
    cases = CASES | ONLY_OURS
    for name, case in cases.items():
        files.add(ours(case), name)
    for name, rows in PARTS.items():
        files.add(Table(columns=["n", "name"], data=rows), name)
    files.add(PartitionedTable("parts"), "all")
    for path, content in files.contents.items():
        place = tmp_path / "files" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    read = read_by_wandb(python, tmp_path)
    assert read.pop("all.partitioned-table.json") == [row for rows in PARTS.values() for row in rows]
    for path, rows in read.items():
        table = files.get(path)
        assert rows == json.loads(json.dumps(table.data, default=str)), path
    assert len(read) == len(cases) + len(PARTS)


def read_by_wandb(python: Path, tmp_path: Path) -> dict[str, list[list[Any]]]:
    done = subprocess.run(
        [python, "-m", "tests.wandb.exchange", "read", tmp_path / "files"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=True,
        timeout=READ_S,
    )
    found: dict[str, list[list[Any]]] = json.loads(done.stdout)
    return found
