"""Signed URLs, ids, manifests, filters of runs, and what sweeps try next."""

from __future__ import annotations

import stat
from hashlib import md5
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from artfs.errors import AccessDenied, InvalidName, InvalidValue, NotFound, PathConflict
from artfs.model.lineage import RunState, VersionRef
from artfs.wandb_server import ids
from artfs.wandb_server.manifests import merge
from artfs.wandb_server.run_filters import matches, ordered
from artfs.wandb_server.signing import Signer, load_key
from artfs.wandb_server.sweep_choices import check_config, choose_grid, choose_random, grid_size
from artfs.wire.runs import RunRecord
from artfs.wire.wandb_manifests import artifact_digest, decode_manifest

LIFE_S = 60


class Read(msgspec.Struct, frozen=True, array_like=True):
    name: str


class Write(msgspec.Struct, frozen=True, array_like=True):
    name: str


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def parts(query: str) -> tuple[str, str]:
    payload, signature = (part.partition("=")[2] for part in query.split("&"))
    return payload, signature


@pytest.mark.falsifies("access")
def test_a_signed_url_allows_what_it_says_until_it_expires() -> None:
    clock = Clock()
    signer = Signer(bytes(32), clock)
    payload, signature = parts(signer.sign(Read("a"), LIFE_S))
    assert signer.read(Read, payload, signature) == Read("a")
    other = parts(signer.sign(Read("b"), LIFE_S))
    for kind, given, by in (
        (Write, payload, signature),
        (Read, other[0], signature),
        (Read, payload, ""),
        (Read, payload, signature[:-1] + "é"),
        (Read, "", signature),
    ):
        with pytest.raises(AccessDenied):
            signer.read(kind, given, by)
    with pytest.raises(AccessDenied):
        Signer(b"\1" * 32, clock).read(Read, payload, signature)
    clock.now_s += LIFE_S + 1
    with pytest.raises(AccessDenied):
        signer.read(Read, payload, signature)


@pytest.mark.falsifies("access")
def test_the_key_is_made_once_and_is_the_servers_own(tmp_path: Path) -> None:
    key = load_key(tmp_path / "key")
    assert len(key) == 32
    assert load_key(tmp_path / "key") == key
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_ids_are_base64_of_names() -> None:
    ref = VersionRef("vision", "bikes", 3)
    told = ids.artifact_id(ref)
    assert ids.decode_artifact(told) == ref
    assert ids.decode_artifact(ids.upload_id("0" * 32)) == "0" * 32
    assert ids.from_hex(bytes(ids.decode("Artifact", told), "ascii").hex()) != told


@pytest.mark.parametrize("text", ["", "!", "QXJ0aWZhY3Q6", ids.encode("Run", "a/b"), ids.encode("Artifact", "x"), "ÿ"])
def test_other_ids_are_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        ids.decode_artifact(text)


def manifest(**contents: Any) -> bytes:
    return msgspec.json.encode({"version": 1, "contents": contents})


def test_where_a_file_was_on_the_clients_machine_is_dropped() -> None:
    found = decode_manifest(
        manifest(a={"digest": "x", "size": 3, "local_path": "/home/geoff/a", "birthArtifactID": "b"})
    )
    assert [(path, entry.size) for path, entry in found.contents.items()] == [("a", 3)]
    assert "geoff" not in repr(found)


@pytest.mark.falsifies("hostile")
@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", manifest(a={"digest": 1}), manifest(a={"digest": "x", "size": -1})]
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidValue):
        decode_manifest(data)


@pytest.mark.falsifies("hostile")
@pytest.mark.parametrize("path", ["../a", "a/../../b", "a/./b", "a\0b", "x" * 300])
def test_paths_that_no_version_can_hold_are_refused(path: str) -> None:
    with pytest.raises(InvalidName):
        decode_manifest(manifest(**{path: {"digest": "x"}}))


def test_writers_may_add_the_same_but_not_something_else() -> None:
    one = decode_manifest(manifest(a={"digest": "x", "size": 1})).contents
    other = decode_manifest(manifest(a={"digest": "y", "size": 1})).contents
    assert merge([one, one]) == one
    with pytest.raises(PathConflict):
        merge([one, other])


def test_an_artifacts_digest_is_what_clients_compute() -> None:
    expected = md5(b"wandb-artifact-manifest-v1\na:x\nb/c:y\n", usedforsecurity=False).hexdigest()
    assert artifact_digest([("a", "x"), ("b/c", "y")]) == expected


def run(id_: str, number: int, **more: Any) -> RunRecord:
    told: dict[str, Any] = {
        "name": id_,
        "state": RunState.FINISHED,
        "group": "",
        "job_type": "",
        "sweep": "",
        "config": {},
        "summary": {},
    } | more
    return RunRecord(project="p", id=id_, number=number, created_at_ns=0, created_by="", heard_of_at_ns=0, **told)


RUNS = [
    run("a", 1, group="g", config={"lr": 0.1}, summary={"acc": 0.5}, tags=["good"]),
    run("b", 2, group="g", config={"lr": 0.2}, summary={"acc": 0.9}),
    run("c", 3, sweep="s", state=RunState.FAILED),
]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({}, "abc"),
        ({"group": "g"}, "ab"),
        ({"$and": [{"group": "g"}, {"config.lr.value": 0.1}]}, "a"),
        ({"$or": [{"sweep": "s"}, {"summary_metrics.acc": {"$gt": 0.6}}]}, "bc"),
        ({"$nor": [{"sweep": "s"}]}, "ab"),
        ({"state": {"$in": ["failed", "crashed"]}}, "c"),
        ({"state": {"$ne": "failed"}}, "ab"),
        ({"tags": "good"}, "a"),
        ({"config.lr": {"$exists": False}}, "c"),
        ({"config.lr": {"$lt": "text"}}, ""),
    ],
    ids=str,
)
def test_runs_are_filtered(condition: dict[str, Any], found: str) -> None:
    assert "".join(one.id for one in RUNS if matches(one, condition)) == found


@pytest.mark.parametrize("condition", [{"unknown": 1}, {"$where": "x"}, {"state": {"$regex": "f"}}], ids=str)
def test_a_filter_that_is_not_known_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        matches(RUNS[0], condition)


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("", "abc"),
        ("+created_at", "abc"),
        ("-created_at", "cba"),
        ("-summary_metrics.acc", "bac"),
        ("+config.lr.value", "abc"),
    ],
)
def test_runs_are_ordered(order: str, found: str) -> None:
    assert "".join(one.id for one in ordered(RUNS, order)) == found


GRID = {
    "x": {"values": [1, 2]},
    "y": {"min": 0, "max": 1},
    "z": {"value": "only"},
    "n": {"parameters": {"m": {"values": [7, 8]}}},
}


def test_a_grid_tries_every_combination_once() -> None:
    assert grid_size(GRID) == 8
    tried = [choose_grid(GRID, number) for number in range(8)]
    assert len({repr(one) for one in tried}) == 8
    assert tried[:2] == [{"x": 1, "y": 0, "z": "only", "n": {"m": 7}}, {"x": 1, "y": 0, "z": "only", "n": {"m": 8}}]
    assert choose_grid(GRID, 8) is None


DISTRIBUTIONS: dict[str, dict[str, Any]] = {
    "uniform": {"min": 1.5, "max": 2.5},
    "int_uniform": {"min": 3, "max": 4},
    "q_uniform": {"min": 0, "max": 10, "q": 5},
    "log_uniform_values": {"min": 0.001, "max": 1.0},
    "log_uniform": {"min": -1.0, "max": 0.0},
    "normal": {"mu": 5, "sigma": 0},
    "inv_log_uniform_values": {"min": 1, "max": 2},
}


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_random_values_are_within_what_is_asked_for(kind: str) -> None:
    told = DISTRIBUTIONS[kind]
    for seed in range(50):
        chosen = choose_random({"p": {"distribution": kind, **told}}, Random(seed))["p"]
        if kind == "normal":
            assert chosen == 5
        elif kind == "log_uniform":
            assert 0.36 < chosen <= 1
        else:
            assert told["min"] <= chosen <= told["max"]
        assert kind != "q_uniform" or chosen % 5 == 0


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"method": "magic", "parameters": GRID},
        {"method": "grid", "parameters": {}},
        {"method": "grid", "parameters": {"p": {"min": 0.0, "max": 1.0}}},
        {"method": "grid", "parameters": {str(i): {"min": 0, "max": 10**6} for i in range(9)}},
        {"method": "random", "parameters": {"p": {"distribution": "of no kind", "min": 0, "max": 1}}},
        {"method": "random", "parameters": {"p": {"values": []}}},
        {"method": "random", "parameters": {"p": 1}},
    ],
    ids=str,
)
def test_a_sweep_of_which_nothing_can_be_chosen_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        check_config(config)


def test_bayesian_search_is_warned_of() -> None:
    assert check_config({"method": "grid", "parameters": GRID}) == []
    assert "bayesian" in check_config({"method": "bayes", "parameters": {"p": {"min": 0, "max": 1}}})[0]
