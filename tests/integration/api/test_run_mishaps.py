"""Runs whose registry goes away, and what is given wrongly."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import artfs
from artfs.api import last_tries
from artfs.errors import InvalidValue, RegistryUnavailable
from tests.integration.serving import Place

pytestmark = pytest.mark.usefixtures("place")


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


@pytest.mark.parametrize("given", [[1], 5, "text"])
def test_a_configuration_is_a_mapping(given: Any) -> None:
    with pytest.raises(InvalidValue, match="not a mapping"):
        artfs.init(project="vision", config=given)
    with pytest.raises(InvalidValue, match="not a mapping"):
        artfs.Artifact("bikes", "dataset", metadata=given)
