"""How do I log an artifact with distributed processes?"""

from __future__ import annotations

import pytest

import artfs
from artfs.errors import DraftClosed
from tests.faq.worlds import World, maker

NAME = "parallel-artifact"
ROWS = [[i, i * 2, 2**i] for i in range(5)]


def test_the_sample_makes_one_version_of_what_all_writers_added(world: World) -> None:
    world.sample("distributed.py")
    api = artfs.Api()
    versions = list(api.artifact_versions("dataset", NAME))
    assert [version.name for version in versions] == [f"{NAME}:v0"]
    artifact = api.artifact(f"{NAME}:latest")
    assert sorted(file.name for file in artifact.files()) == [
        "distributed_table.partitioned-table.json",
        *(f"parts/table_{i}.table.json" for i in range(5)),
    ]
    table = artifact.get("distributed_table")
    assert table == artfs.data_types.PartitionedTable("parts")
    assert [row for _, row in table.iterrows()] == ROWS
    assert artifact.get("parts/table_3") == artfs.Table(columns=["a", "b", "c"], data=[ROWS[3]])


def test_the_writers_are_runs_of_one_group(world: World) -> None:
    world.sample("distributed.py")
    runs = list(artfs.Api().runs(filters={"group": group_of(NAME)}))
    assert len(runs) == len(ROWS) + 1
    assert {run.state for run in runs} == {"finished"}
    assert all([made.name for made in run.logged_artifacts()] == [f"{NAME}:v0"] for run in runs)


def test_a_finished_artifact_takes_no_more_from_its_group(world: World) -> None:
    world.sample("distributed.py")
    late = artfs.Artifact(NAME, type="dataset")
    late.add(artfs.Table(columns=["a", "b", "c"], data=[[9, 9, 9]]), "parts/table_9")
    with artfs.init(group=group_of(NAME)) as run, pytest.raises(DraftClosed):
        run.upsert_artifact(late)
    assert len(list(artfs.Api().artifact_versions("dataset", NAME))) == 1


def group_of(name: str) -> str:
    return maker(artfs.Api().artifact(f"{name}:latest")).group
