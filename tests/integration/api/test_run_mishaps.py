"""Runs whose registry goes away, and what is given wrongly."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import artfs
from artfs.api import last_tries
from artfs.api.session import session
from artfs.errors import InvalidValue, RegistryUnavailable
from artfs.model.lineage import RunState
from tests.integration.serving import Place

pytestmark = [pytest.mark.falsifies("no-hang"), pytest.mark.usefixtures("place")]


def test_what_leaves_a_block_is_not_hidden_by_a_registry_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(last_tries, "LAST_TRIES_S", 1.0)
    server = Place(tmp_path / "server")
    monkeypatch.setenv("ARTFS_TOKEN", server.user("ann"))
    with pytest.raises(SystemExit, match="3"):  # noqa: PT012 - the block is what is tested
        with server.serving() as served:
            monkeypatch.setenv("ARTFS_REGISTRY", served.url)
            run = artfs.init(project="vision", id="stranded")
        with run:
            sys.exit(3)
    assert "the run stranded is not ended" in caplog.text
    with pytest.raises(RegistryUnavailable), artfs.init(project="vision", id="begun"):
        raise AssertionError("not reached")


def test_a_server_that_restarts_does_not_fail_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Place(tmp_path / "server")
    monkeypatch.setenv("ARTFS_TOKEN", server.user("ann"))
    with server.serving() as served:
        monkeypatch.setenv("ARTFS_REGISTRY", served.url)
        run = artfs.init(project="vision", id="patient")
        port = served.url.rpartition(":")[2]
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(run.finish)
        with server.serving("--listen", f"127.0.0.1:{port}", wait=False):
            ending.result(last_tries.LAST_TRIES_S)
            assert artfs.Api().run("vision/patient").state == "finished"


def test_an_interrupt_is_not_lost_where_added_files_are_removed() -> None:
    def interrupt(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "rmtree":
            sys.setprofile(None)
            raise KeyboardInterrupt

    with artfs.init(project="vision") as run:
        bikes = artfs.Artifact("bikes", "dataset")
        with bikes.new_file("a") as file:
            file.write("a")
        sys.setprofile(interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.log_artifact(bikes)
    assert bikes.name == "bikes:v0"


def test_ctrl_c_in_a_block_is_told_as_the_shell_tells_it() -> None:
    with pytest.raises(KeyboardInterrupt), artfs.init(project="vision", id="interrupted"):
        raise KeyboardInterrupt
    shown = session().registry.runs.get("vision", "interrupted")
    assert (shown.state, shown.exit_code) == (RunState.FAILED, 130)


@pytest.mark.parametrize("given", [[1], 5, "text"])
def test_a_configuration_is_a_mapping(given: Any) -> None:
    with pytest.raises(InvalidValue, match="not a mapping"):
        artfs.init(project="vision", config=given)
    with pytest.raises(InvalidValue, match="not a mapping"):
        artfs.Artifact("bikes", "dataset", metadata=given)
