"""Lists of records that are large: a server answers with shorter pages, and its clients get all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from artfs.client.remote.registry import RemoteRegistry
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.server.settings import ServerSettings
from artfs.wire.http import Page
from artfs.wire.records import VersionChange
from artfs.wire.runs import HistoryRow, NewRun, NewSweep, RunChange
from tests.contract.uploading import commit
from tests.network.served import admin_token, served
from tests.registries import OWN_REGISTRIES, migrated_database, open_postgres_registry

pytestmark = [pytest.mark.falsifies("bounded")]

PAGE_BYTES = 10_000
LARGE = {"text": "x" * 4000}  # of which two go into a page
HUGE = {"text": "x" * (3 * PAGE_BYTES)}
PROJECT = "/v1/projects/vision"


@pytest.fixture(params=OWN_REGISTRIES)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RemoteRegistry]:
    root = tmp_path / "registry"
    with ExitStack() as stack:
        if request.param == "postgres":
            url = stack.enter_context(migrated_database())
            opened: Callable[[], SqlRegistry] = partial(open_postgres_registry, url, root)
        else:
            opened = partial(EmbeddedRegistry, root)
        with closing(opened()) as own:
            token = admin_token(own)
        server = stack.enter_context(served(opened, ServerSettings(page_bytes_max=PAGE_BYTES)))
        made = stack.enter_context(closing(RemoteRegistry(server, token, spool=tmp_path / "spool")))
        made.projects.create("vision")
        yield made


def page_lengths(remote: RemoteRegistry, path: str) -> list[int]:
    """How many records each page of a list has."""
    lengths: list[int] = []
    after: dict[str, str | int] = {}
    while True:
        page: Page[Any] = remote.transport.get(PROJECT + path, Page[Any], after)
        lengths.append(len(page.items))
        if page.next is None:
            return lengths
        after = {"after": page.next}


def test_runs_that_are_large_come_in_shorter_pages(remote: RemoteRegistry) -> None:
    configs = [LARGE, LARGE, LARGE, {}, HUGE, {}, {}]
    for i, config in enumerate(configs):
        remote.runs.start("vision", NewRun(f"r{i}", config=config, group="even" if i % 2 == 0 else "odd"))
    assert page_lengths(remote, "/runs") == [2, 2, 1, 2]
    assert [run.config for run in remote.runs.list("vision")] == configs
    assert [run.config for run in remote.runs.list("vision", limit=4)] == configs[:4]
    assert [run.id for run in remote.runs.list("vision", group="even")] == ["r0", "r2", "r4", "r6"]
    remote.runs.update("vision", "r6", RunChange(summary=HUGE))
    assert page_lengths(remote, "/runs") == [2, 2, 1, 1, 1]


def test_rows_of_history_that_are_large_come_in_shorter_pages(remote: RemoteRegistry) -> None:
    remote.runs.start("vision", NewRun("r1"))
    rows = [HistoryRow(step, step, LARGE if step % 2 else {}) for step in range(7)]
    remote.runs.log("vision", "r1", rows)
    assert page_lengths(remote, "/runs/r1/history") == [5, 2]
    assert remote.runs.history("vision", "r1") == rows


def test_sweeps_that_are_large_come_in_shorter_pages(remote: RemoteRegistry) -> None:
    for i in range(5):
        remote.sweeps.create("vision", NewSweep(f"s{i}", config=LARGE))
    assert page_lengths(remote, "/sweeps") == [2, 2, 1]
    assert [sweep.id for sweep in remote.sweeps.list("vision")] == [f"s{i}" for i in range(5)]


def test_versions_that_are_large_come_in_shorter_pages(remote: RemoteRegistry) -> None:
    for i in range(5):
        commit(remote, "vision", "bikes", {"a": b"%d" % i})
        change = VersionChange(metadata=LARGE) if i % 2 else VersionChange(description=LARGE["text"])
        remote.versions.update("vision", "bikes", i, change)
    assert page_lengths(remote, "/artifacts/bikes/versions") == [2, 2, 1]
    assert [version.number for version in remote.versions.list("vision", "bikes")] == [0, 1, 2, 3, 4]
    assert remote.versions.list("vision", "bikes", after=4) == []
