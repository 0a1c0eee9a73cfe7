"""Runs, lineage and shared drafts over a network that loses answers: what was done is not done twice."""

from __future__ import annotations

import pytest

from artfs.client.remote.registry import RemoteRegistry
from artfs.errors import RegistryUnavailable
from artfs.model.lineage import EdgeKind, Resume, RunRef, VersionRef
from artfs.wire.records import SealRequest
from artfs.wire.runs import HistoryRow, NewRun, NewSweep, Part
from tests.contract.uploading import commit, content_of, send
from tests.network.proxy import Proxy

pytestmark = [pytest.mark.falsifies("once", "lineage")]

TREE = content_of({"a": b"a part"})


@pytest.mark.parametrize("new", [NewRun(), NewRun("r1", Resume.ALLOW), NewRun(group="night", resume=Resume.ALLOW)])
def test_a_run_whose_answers_are_lost_is_started_once(remote: RemoteRegistry, proxy: Proxy, new: NewRun) -> None:
    proxy.lose_answers(match="POST /v1/projects/vision/runs", times=2)
    started = remote.runs.start("vision", new)
    assert proxy.counts().with_path("POST /v1/projects/vision/runs") == 3
    assert [run.id for run in remote.runs.list("vision")] == [started.id]


def test_a_run_that_must_be_new_is_not_started_again(remote: RemoteRegistry, proxy: Proxy) -> None:
    proxy.lose_answers(match="POST /v1/projects/vision/runs", times=1)
    with pytest.raises(RegistryUnavailable):
        remote.runs.start("vision", NewRun("r1"))
    assert proxy.counts().with_path("POST /v1/projects/vision/runs") == 1


def test_a_sweep_whose_answer_is_lost_is_made_once(remote: RemoteRegistry, proxy: Proxy) -> None:
    proxy.lose_answers(match="POST /v1/projects/vision/sweeps", times=1)
    made = remote.sweeps.create("vision", NewSweep(name="search"))
    assert remote.sweeps.list("vision") == [made]


def test_what_a_run_did_is_noted_once(remote: RemoteRegistry, proxy: Proxy) -> None:
    commit(remote, "vision", "bikes", TREE)
    remote.runs.start("vision", NewRun("r1"))
    proxy.lose_answers(match="/runs/r1/", times=1)
    remote.runs.log("vision", "r1", [HistoryRow(0, 1, {"x": 1})])
    proxy.lose_answers(match="/runs/r1/", times=1)
    remote.lineage.record("vision", "r1", EdgeKind.USED, [VersionRef("vision", "bikes", 0)])
    assert remote.runs.history("vision", "r1") == [HistoryRow(0, 1, {"x": 1})]
    assert remote.lineage.of_version("vision", "bikes", 0).used_by == [RunRef("vision", "r1")]


@pytest.mark.parametrize("match", ["/shared-drafts ", "/parts", "/finish"])
def test_a_shared_draft_whose_answers_are_lost_makes_one_version(
    remote: RemoteRegistry, proxy: Proxy, match: str
) -> None:
    remote.runs.start("vision", NewRun("r1"))
    proxy.lose_answers(match=match, times=2)
    shared = remote.shared_drafts.open("vision", "data", "night")
    draft = remote.drafts.open("vision")
    send(remote, draft, TREE)
    remote.shared_drafts.add(shared.id, draft.id, Part(TREE.root, "vision/r1"))
    assert remote.shared_drafts.parts(shared.id) == [Part(TREE.root, "vision/r1")]
    draft = remote.drafts.open("vision")
    send(remote, draft, TREE)
    result = remote.shared_drafts.finish(shared.id, draft.id, SealRequest("data", TREE.root), [TREE.root])
    assert (result.created, result.version.number) == (True, 0)
    assert [version.number for version in remote.versions.list("vision", "data")] == [0]
    assert remote.lineage.of_run("vision", "r1").logged == [VersionRef("vision", "data", 0)]
