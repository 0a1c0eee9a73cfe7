"""`artfs lineage` and `artfs runs` on a pipeline of commands, without a mount."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.acceptance.user import ARTFS, User


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> User:
    """p/raw:v0 → p/prepare → p/clean:v0 → p/train → p/net:v0."""
    place = tmp_path_factory.mktemp("pipeline")
    user = User(place / "home")
    source = place / "raw"
    for directory in (user.home, source):
        directory.mkdir()
    (source / "x").write_text("1")
    user.run("put", "-q", "-n", "p/raw", source)
    for run, read, made, more in (("prepare", "raw", "clean", ""), ("train", "clean", "net", "-t model -a best")):
        script = f"set -e; artfs get -q p/{read} --root {place}/{run}; echo {run} > {place}/{run}/{run}; "
        script += f"artfs put -q -n p/{made} {more} {place}/{run}"
        path = f"{ARTFS.parent}:{user.environment()['PATH']}"
        user.run("run", "-q", "-p", "p", "--id", run, "--config", "lr=0.1", "--", "sh", "-c", script, PATH=path)
    return user


def test_text_shows_both_directions_and_each_alone(pipeline: User) -> None:
    assert pipeline.run("lineage", "p/clean").stdout.splitlines() == [
        "p/clean:v0  dataset  latest",
        "",
        "made from:",
        "↑ p/prepare  finished",
        "p/raw:v0  dataset  latest",
        "",
        "led to:",
        "↓ p/train  finished",
        "p/net:v0  model  best, latest",
    ]
    assert "led to" not in pipeline.run("lineage", "p/net:best", "--up").stdout
    assert "p/raw" not in pipeline.run("lineage", "p/net:best", "--up", "--depth", "2").stdout
    assert "made from" not in pipeline.run("lineage", "p/raw:v0", "--down").stdout
    assert pipeline.run("lineage", "p/clean", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0").stdout.isascii()


def test_json_has_the_graph(pipeline: User) -> None:
    graph = pipeline.json("lineage", "p/net:v0")
    assert [node["version"] for node in graph["versions"]] == ["p/clean:v0", "p/net:v0", "p/raw:v0"]
    assert graph["edges"] == [
        {"kind": "logged", "run": "p/prepare", "version": "p/clean:v0"},
        {"kind": "used", "run": "p/train", "version": "p/clean:v0"},
        {"kind": "logged", "run": "p/train", "version": "p/net:v0"},
        {"kind": "used", "run": "p/prepare", "version": "p/raw:v0"},
    ]
    assert graph["complete"]


@pytest.mark.parametrize("depth", [1, 2, 3, 100])
def test_a_run_has_the_graph_that_a_version_beside_it_has(pipeline: User, depth: int) -> None:
    graph = pipeline.json("lineage", "--run", "p/train", "--depth", str(depth))
    distances = {"p/train": 0, "p/clean:v0": 1, "p/net:v0": 1, "p/prepare": 2, "p/raw:v0": 3}
    found = {node["version"] for node in graph["versions"]} | {run["run"] for run in graph["runs"]}
    assert found == {name for name, distance in distances.items() if distance <= depth}
    assert len(graph["edges"]) == len(found) - 1


def test_the_name_of_the_output_says_the_format(pipeline: User, tmp_path: Path) -> None:
    for name, begins in (("a.dot", "digraph"), ("a.mmd", "flowchart LR"), ("a.json", "{"), ("a.txt", "p/net:v0")):
        assert pipeline.run("lineage", "p/net", "-o", tmp_path / name).stdout == ""
        assert (tmp_path / name).read_text().startswith(begins)
    pipeline.run("lineage", "p/net", "-o", tmp_path / "a.svg")
    drawn = ElementTree.parse(tmp_path / "a.svg")
    assert {"raw:v0", "prepare", "clean:v0", "train", "net:v0"} <= {"".join(e.itertext()) for e in drawn.iter()}
    assert pipeline.run("lineage", "p/net", "--format", "mermaid", "-o", tmp_path / "b.svg").stdout == ""
    assert (tmp_path / "b.svg").read_text().startswith("flowchart LR")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("lineage",), 2),
        (("lineage", "p/net", "--run", "p/train"), 2),
        (("lineage", "p/net:best/file"), 2),
        (("lineage", "p/net", "--depth", "0"), 2),
        (("lineage", "p/nothing"), 3),
        (("lineage", "--run", "p/nothing"), 3),
        (("lineage", "p/net", "-o", "/nowhere/x.svg"), 7),
        (("lineage", "p/net", "-o", "x.foo"), 2),
        (("runs", "p/nothing"), 3),
        (("runs", "nothing"), 3),
        (("run", "-p", "p", "--config", "{", "--", "true"), 2),
        (("run", "-p", "p", "--config", "=x", "--", "true"), 2),
        (("run", "-p", "p", "--id", "train", "--", "true"), 4),
        (("run", "-p", "p"), 2),
    ],
)
def test_a_mistake_gets_a_message_and_its_exit_code(pipeline: User, arguments: tuple[str, ...], code: int) -> None:
    done = pipeline.run(*arguments, code=code)
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_runs_are_listed_newest_first_and_one_is_shown_whole(pipeline: User) -> None:
    assert [run["run"] for run in pipeline.json("runs", "p")] == ["p/train", "p/prepare"]
    assert len(pipeline.run("runs", "p", "-n", "1").stdout.splitlines()) == 2
    shown = pipeline.json("runs", "p/train")
    assert (shown["used"], shown["logged"], shown["config"]) == (["p/clean:v0"], ["p/net:v0"], {"lr": 0.1})
    text = pipeline.run("runs", "p/train").stdout
    assert "used   p/clean:v0" in text
    assert "logged p/net:v0" in text


def test_a_run_of_another_registry_is_left_alone_with_a_word(pipeline: User, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("more")
    done = pipeline.run("put", "-q", "-n", "p/more", tmp_path / "x", ARTFS_RUN="elsewhere/r")
    assert "not noted" in done.stderr
    assert pipeline.run("lineage", "p/more").stdout.count("nothing") == 2
