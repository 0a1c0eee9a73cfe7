"""Every sample of the W&B Artifacts FAQ as it is written, run with the public `wandb` package against this server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faq.worlds import files_in
from tests.wandb.client import WandbUser

pytestmark = [pytest.mark.timeout(900), pytest.mark.serial, pytest.mark.deep]

BIKES = """
import wandb
with wandb.init(project="car-vision-project") as run:
    bikes = wandb.Artifact("bike-dataset", "dataset", description="old", metadata={"oldKey": "old", "other": [1, 2]})
    with bikes.new_file("a.txt") as file:
        file.write("bike")
    run.log_artifact(bikes)
"""
TOLD = """
import json
artifact = wandb.Api().artifact("car-vision-project/bike-dataset:replaced")
print(json.dumps([artifact.description, artifact.metadata, artifact.aliases, artifact.version]))
"""
GRAPH = """
import wandb

def log(run, name, text, type="dataset", aliases=()):
    artifact = wandb.Artifact(name, type)
    with artifact.new_file("a.txt") as file:
        file.write(text)
    run.log_artifact(artifact, aliases=["latest", *aliases]).wait()

with wandb.init(project="walk", id="collect") as run:
    log(run, "raw", "raw")
with wandb.init(project="walk", id="run_id") as run:
    run.use_artifact("raw:latest").download()
    log(run, "artifact", "prepared", aliases=["alias"])
with wandb.init(project="walk", id="train") as run:
    run.use_artifact("artifact:alias").download()
    log(run, "model", "weights", type="model")
"""
FROM_ARTIFACT = """
import json
print(json.dumps({
    "producer": producer_run.id,
    "consumers": [run.id for run in consumer_runs],
    "next": [artifact.name for artifact in next_artifacts],
    "previous": [artifact.name for artifact in previous_artifacts],
}))
"""
FROM_RUN = """
import json
print(json.dumps({
    "produced": [artifact.name for artifact in produced_artifacts],
    "consumed": [artifact.name for artifact in consumed_artifacts],
    "earlier": earlier_run.id,
    "consumers": [run.id for run in consumer_runs],
}))
"""


def last(printed: str) -> Any:
    return json.loads(printed.splitlines()[-1])


def test_an_artifact_is_updated(geoff: WandbUser) -> None:
    geoff.script(BIKES)
    told = last(geoff.sample("update.py", then=TOLD))
    assert told == ["My new description", {"newKey": "new value"}, ["replaced"], "v0"]


def test_an_artifact_is_logged_to_an_existing_run(geoff: WandbUser) -> None:
    geoff.write({"my_data/file.txt": b"my data"})
    geoff.script(
        "import wandb\nwith wandb.init(id='existing_run_id', config={'lr': 0.1}) as run:\n    run.log({'a': 1})\n"
    )
    geoff.sample("existing_run.py")
    told = geoff.told(
        "import json, wandb\n"
        "run = wandb.Api().run('vision/existing_run_id')\n"
        "print(json.dumps([run.state, run.config, run.summary['a'], [a.name for a in run.logged_artifacts()]]))\n"
    )
    assert told == ["finished", {"lr": 0.1}, 1, ["artifact_name:v0"]]


def test_an_artifact_is_checked_out(geoff: WandbUser) -> None:
    geoff.write({"0.png": b"zero", "sub/1.png": b"one"}, "mnist")
    geoff.wandb("artifact", "put", "-n", "project/artifact", "-a", "alias", "-t", "dataset", "mnist/")
    geoff.forget()
    directory = geoff.sample("checkout.py", then="print(artifact_dir)").splitlines()[-1]
    assert files_in(geoff.directory / directory) == {"0.png": b"zero", "sub/1.png": b"one"}


def test_the_graph_is_walked(geoff: WandbUser) -> None:
    geoff.script(GRAPH)
    replaced = {"project/artifact": "walk/artifact"}
    assert last(geoff.sample("graph_from_artifact.py", then=FROM_ARTIFACT, replaced=replaced)) == {
        "producer": "run_id",
        "consumers": ["train"],
        "next": ["model:v0"],
        "previous": ["raw:v0"],
    }
    replaced = {"entity/project": "geoff/walk"}
    assert last(geoff.sample("graph_from_run.py", then=FROM_RUN, replaced=replaced)) == {
        "produced": ["artifact:v0"],
        "consumed": ["raw:v0"],
        "earlier": "collect",
        "consumers": ["train"],
    }


def test_versions_without_an_alias_are_deleted(geoff: WandbUser) -> None:
    geoff.script("""
import wandb
with wandb.init(project="capsule-gpt") as run:
    for step in range(4):
        checkpoint = wandb.Artifact("checkpoints", type="model")
        with checkpoint.new_file("weights") as file:
            file.write(f"weights {step}")
        run.log_artifact(checkpoint, aliases=["latest", "best"] if step == 1 else ["latest"]).wait()
""")
    geoff.sample("clean_up.py", replaced={"artifact_versions": "artifacts"})
    told = geoff.told("""
import json, wandb
versions = wandb.Api().artifacts("model", "capsule-gpt/checkpoints")
print(json.dumps({version.version: version.aliases for version in versions}))
""")
    assert told == {"v3": ["latest"], "v1": ["best"]}


def test_the_best_run_of_a_sweep_is_found(geoff: WandbUser) -> None:
    sweep = geoff.told("""
import json, wandb
config = {"method": "grid", "metric": {"name": "val_acc", "goal": "maximize"}, "parameters": {"lr": {"values": [1, 3, 2]}}}
sweep = wandb.sweep(config, project="project")

def train():
    with wandb.init() as run:
        run.log({"val_acc": run.config.lr / 10})
        model = wandb.Artifact(name="sweep_name", type="model")
        with model.new_file("weights") as file:
            file.write(f"weights of {run.config.lr}")
        run.log_artifact(model)

wandb.agent(sweep, function=train, count=3)
print(json.dumps(sweep))
""")
    replaced = {"entity/project/sweep_id": f"geoff/project/{sweep}"}
    directory = geoff.sample("best_run.py", replaced=replaced).splitlines()[-1]
    assert files_in(geoff.directory / directory) == {"weights": b"weights of 3"}
    told = geoff.told(f"""
import json, wandb
sweep = wandb.Api().sweep("geoff/project/{sweep}")
runs = {{run.config["lr"]: run.state for run in sweep.runs}}
print(json.dumps([sweep.config["method"], sorted(runs.items()), sweep.best_run().config["lr"]]))
""")
    assert told == ["grid", [[1, "finished"], [2, "finished"], [3, "finished"]], 3]


def test_distributed_writers_make_one_version(geoff: WandbUser) -> None:
    told = last(
        geoff.sample(
            "distributed.py",
            then="""
import json
artifact = wandb.Api().artifact("vision/parallel-artifact:latest")
table = artifact.get("distributed_table")
writers = {run.id for run in wandb.Api().runs("geoff/vision", filters={"group": group_name})}
print(json.dumps([artifact.version, sorted(artifact.manifest.entries), [row for _, row in table.iterrows()], len(writers)]))
""",
        )
    )
    version, paths, rows, writers = told
    assert version == "v0"
    assert paths == ["distributed_table.partitioned-table.json", *(f"parts/table_{i}.table.json" for i in range(5))]
    assert rows == [[i, i * 2, 2**i] for i in range(5)]
    assert writers == 6


def test_code_is_saved(geoff: WandbUser) -> None:
    """As `wandb.Artifact` wants a name, which the FAQ's sample has not, the code is one of a run."""
    told = geoff.told("""
import json, wandb
with wandb.init(settings=wandb.Settings(save_code=True)) as run:
    run.log_code(".", include_fn=lambda path: path.endswith("script.py"))
run = wandb.Api().run(f"vision/{run.id}")
print(json.dumps([[a.type for a in run.logged_artifacts()], [f.name for f in run.files() if f.name.startswith("code/")]]))
""")
    assert told == [["code"], ["code/script.py"]]


def test_the_cache_is_cleaned_up(geoff: WandbUser) -> None:
    geoff.wandb("artifact", "cache", "cleanup", "1GB")


def test_references_are_kept_and_followed(geoff: WandbUser) -> None:
    geoff.write({"ext.txt": b"external"})
    told = geoff.told(f"""
import json, os, wandb
with wandb.init() as run:
    source = wandb.Artifact("source", "dataset")
    with source.new_file("a.txt") as file:
        file.write("from elsewhere")
    run.log_artifact(source).wait()
    refs = wandb.Artifact("refs", "dataset")
    refs.add_reference("file://" + os.path.abspath("ext.txt"), name="ext.txt")
    refs.add_reference("{geoff.url}/healthz", name="far")
    refs.add_reference(run.use_artifact("source:v0").get_entry("a.txt"), name="linked/a.txt")
    run.log_artifact(refs).wait()
refs = wandb.Api().artifact("vision/refs:v0")
read = {{path: open(refs.get_entry(path).download()).read() for path in ("ext.txt", "far", "linked/a.txt")}}
found = wandb.Api().run(f"vision/{{run.id}}")
lineage = [[artifact.name for artifact in artifacts] for artifacts in (found.used_artifacts(), found.logged_artifacts())]
print(json.dumps([read, {{path: entry.ref for path, entry in refs.manifest.entries.items()}}, lineage]))
""")
    read, refs, lineage = told
    assert lineage == [[], ["source:v0", "refs:v0"]], "what a run logged itself is not noted as used"
    assert read == {"ext.txt": "external", "far": "ok\n", "linked/a.txt": "from elsewhere"}
    assert refs["ext.txt"].startswith("file:///")
    assert refs["far"] == f"{geoff.url}/healthz"
    assert refs["linked/a.txt"].startswith("wandb-artifact://")


def test_an_incremental_artifact_adds_to_the_newest_version(geoff: WandbUser) -> None:
    told = geoff.told("""
import json, wandb
with wandb.init() as run:
    for name, incremental in (("one", False), ("two", True), ("three", True)):
        artifact = wandb.Artifact("growing", "dataset", incremental=incremental)
        with artifact.new_file(name) as file:
            file.write(name)
        run.log_artifact(artifact).wait()
versions = [wandb.Api().artifact(f"vision/growing:v{n}") for n in range(3)]
print(json.dumps([sorted(version.manifest.entries) for version in versions]))
""")
    assert told == [["one"], ["one", "two"], ["one", "three", "two"]]


def test_tags_and_a_time_to_live_are_kept(geoff: WandbUser) -> None:
    geoff.script(BIKES)
    told = geoff.told("""
import json, wandb
from datetime import timedelta
def read():
    return wandb.Api().artifact("car-vision-project/bike-dataset:v0")
artifact = read()
artifact.tags = ["one", "two"]
artifact.ttl = timedelta(days=30)
artifact.save()
artifact = read()
found = [sorted(artifact.tags), artifact.ttl.days]
artifact.tags = ["two"]
artifact.ttl = None
artifact.save()
print(json.dumps(found + [read().tags, read().ttl]))
""")
    assert told == [["one", "two"], 30, ["two"], None]


def test_wandb_verify_finds_no_functional_failure(geoff: WandbUser) -> None:
    """Over plain HTTP it warns of that, and of a bucket's CORS, which there is none of."""
    printed = geoff.wandb("verify", "--host", geoff.url)
    failed = [line for line in printed.splitlines() if "\u274c" in line]
    assert all(any(of in line for of in ("base url", "signed URLs", "CORs")) for line in failed), printed
    assert printed.count("\u2705") >= 7
