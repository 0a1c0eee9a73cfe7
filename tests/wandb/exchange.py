"""Where wandb is installed: `exchange.py write DIR` makes the files of tests/wandb/files, `exchange.py read DIR` reads tables.

To renew the files:

    PYTHONPATH=. WANDB_MODE=offline $(scripts/wandb-client 0.31.0) -m tests.wandb.exchange write tests/wandb/files
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.wandb.cases import ARRAYS, CASES, PARTS

wandb: Any = import_module("wandb")


def write(directory: Path) -> None:
    """One file for each case, and beside them what else wandb puts into the artifact."""
    artifact = wandb.Artifact("files", "dataset")
    for name, case in CASES.items():
        artifact.add(wandb.Table(columns=case.columns, data=case.rows, **case.more), name)
    numpy: Any = import_module("numpy")
    artifact.add(wandb.Table(columns=["a"], data=[[numpy.array(row)] for row in ARRAYS]), "arrays")
    for name, rows in PARTS.items():
        artifact.add(wandb.Table(columns=["n", "name"], data=rows), name)
    artifact.add(wandb.data_types.PartitionedTable("parts"), "all")
    for path, entry in artifact.manifest.entries.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry.local_path, directory / path)
    (directory / "VERSION").write_text(f"wandb {wandb.__version__}\n")


class Entry:
    """A file of an artifact, as wandb's readers see it."""

    def __init__(self, directory: Path, path: str) -> None:
        self.path = path
        self._file = directory / path

    def download(self) -> str:
        return str(self._file)


def read(directory: Path) -> dict[str, list[list[Any]]]:
    """The cells of every table, by its path, as wandb reads them; datetimes as text."""
    paths = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.json"))

    def below(parts: str) -> list[Entry]:
        return [Entry(directory, path) for path in paths if path.startswith(parts + "/")]

    def get(path: str) -> Any:
        kind = wandb.data_types.PartitionedTable if path.endswith(".partitioned-table.json") else wandb.Table
        return kind.from_json(json.loads((directory / path).read_text()), artifact)

    artifact = SimpleNamespace(manifest=SimpleNamespace(get_entries_in_directory=below), get=get)
    artifact.get_entry = lambda path: Entry(directory, path)
    return {path: [row for _, row in get(path).iterrows()] for path in paths}


if __name__ == "__main__":
    action, place = sys.argv[1], Path(sys.argv[2])
    if action == "write":
        write(place)
    else:
        json.dump(read(place), sys.stdout, default=str)
