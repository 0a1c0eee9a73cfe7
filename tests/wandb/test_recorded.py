"""A W&B server is read as it was when the exchanges were recorded, and in the other forms that the public client accepts.

`artfs serve --wandb` and its reader change together, and agree whatever both believe; what was recorded does not change with
them.
"""

from __future__ import annotations

import calendar
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from artfs.errors import NotAuthenticated, NotFound
from tests.acceptance.team import Member
from tests.faq.worlds import files_in
from tests.wandb.client import PROJECT
from tests.wandb.recorded import (
    CHANGED,
    DESCRIPTION,
    ENTITY,
    FILES,
    METADATA,
    RECORDING,
    REFERENCE,
    Exchange,
    client_of,
    load,
    read,
)
from tests.wandb.replayed import (
    KEY,
    PORTFOLIO,
    Form,
    Replayed,
    births,
    more_fields,
    nulls,
    portfolio,
    replayed,
    stored_as,
    times,
)

pytestmark = pytest.mark.timeout(300)

RECORDED_BYTES_MAX = 60_000
V2 = {"storageLayout": "V2"}
IN_V1 = rf"/artifacts/{ENTITY}/\g<rest>"
IN_REGION = rf"/artifactsV2/gcp-us/{ENTITY}/\g<birth>/\g<rest>"
FORMS: dict[str, Form] = {
    "more fields": more_fields,
    "nulls": nulls,
    "a region": stored_as(V2 | {"storageRegion": "gcp-us"}, IN_REGION),
    "no region": stored_as(V2 | {"storageRegion": None}, r"\g<0>"),
    "layout 1": stored_as({"storageLayout": "V1"}, IN_V1),
    "no layout": stored_as({}, IN_V1),
    "a layout that is null": stored_as({"storageLayout": None, "storageRegion": None}, IN_V1),
    "no storage": stored_as(None, IN_V1),
    "no births": births(None, told=False),
    "births that are null": births(None),
    "births that are empty": births(""),
    "a portfolio": portfolio,
    "all at once, without births": lambda found: portfolio(more_fields(times(".5Z")(births(None)(found)))),
}


@pytest.fixture(scope="module")
def recording() -> list[Exchange]:
    return load()


@contextmanager
def serving(exchanges: list[Exchange], *, expires: bool = False) -> Iterator[Replayed]:
    """A server that is asked for nothing but what was recorded, and gets the key where it is needed and nowhere else."""
    with replayed(exchanges, expires=expires) as server:
        yield server
    assert server.asked
    assert (server.unknown, server.misplaced) == ([], [])


@pytest.fixture
def server(recording: list[Exchange]) -> Iterator[Replayed]:
    with serving(recording) as running:
        yield running


@pytest.fixture
def reader(server: Replayed, tmp_path: Path) -> Member:
    return Member(tmp_path, {"ARTFS_REGISTRY": f"wandb+{server.url}/{ENTITY}", "WANDB_API_KEY": KEY})


def told(recording: list[Exchange]) -> dict[str, Any]:
    """What was answered of the versions of `bikes`, by name."""
    (answer,) = [
        json.loads(one.body)["data"]["project"]["artifactCollection"]
        for one in recording
        if one.question.operation == "ArtfsVersions" and json.loads(one.question.variables)["artifact"] == "bikes"
    ]
    return {f"v{edge['node']['versionIndex']}": edge["node"] for edge in answer["artifacts"]["edges"]}


def told_s(recording: list[Exchange], version: str) -> int:
    return calendar.timegm(time.strptime(told(recording)[version]["createdAt"][:19], "%Y-%m-%dT%H:%M:%S"))


def times_of(recording: list[Exchange], files: dict[str, bytes]) -> dict[str, int]:
    """When the files came, in seconds: what is in `FILES` with the first version."""
    came = {path: "v0" if FILES[path] == content else "v1" for path, content in files.items()}
    return {path: told_s(recording, version) for path, version in came.items()}


def test_a_recording_is_small_and_tells_nothing_of_who_made_it(recording: list[Exchange]) -> None:
    text = RECORDING.read_text()
    assert len(text.encode()) < RECORDED_BYTES_MAX
    assert not re.search(r"authorization|basic |127\.0\.0\.1|localhost|api:|/tmp|/home|/root", text, re.IGNORECASE)
    assert len({one.question for one in recording}) == len(recording)
    assert {one.question.path.split("/")[1] for one in recording} == {"graphql", "artifactsV2", "wandb"}
    assert told_s(recording, "v0") < told_s(recording, "v1")


def test_commands_list_what_was_recorded(reader: Member, recording: list[Exchange]) -> None:
    assert reader.run("ls").stdout.split() == [PROJECT]
    listed = {one["artifact"]: (one["type"], one["versions"]) for one in reader.json("ls", PROJECT)}
    assert listed == {"bikes": ("dataset", 2), "links": ("dataset", 1)}
    newest, oldest = reader.json("log", f"{PROJECT}/bikes")
    assert [sorted(one["aliases"]) for one in (oldest, newest)] == [["first"], ["best", "latest"]]
    for one in (oldest, newest):
        node = told(recording)[one["version"]]
        assert (one["description"], one["metadata"], one["type"]) == (DESCRIPTION, METADATA, "dataset")
        assert (one["digest"], one["created_at"][:19]) == (f"md5:{node['digest']}", node["createdAt"][:19])
    assert (newest["size_bytes"], newest["files"]) == (sum(map(len, CHANGED.values())), len(CHANGED))


@pytest.mark.parametrize(("selector", "files"), [("v0", FILES), ("best", CHANGED)])
def test_commands_list_the_files_that_were_recorded(
    reader: Member, recording: list[Exchange], selector: str, files: dict[str, bytes]
) -> None:
    entries = reader.json("ls", "-R", f"{PROJECT}/bikes:{selector}")
    found = {one["path"]: one for one in entries if one["kind"] != "directory"}
    assert {one["path"] for one in entries} - set(found) == {"train", "train/cats", "train/cats/deep"}
    assert {path: (one["kind"], one["size_bytes"], one["digest"]) for path, one in found.items()} == {
        path: ("file", len(content), f"md5:{md5(content, usedforsecurity=False).hexdigest()}")
        for path, content in files.items()
    }
    shown = {path: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(s)) for path, s in times_of(recording, files).items()}
    assert {path: one["entered_at"][:19] for path, one in found.items()} == shown


def test_a_reference_to_elsewhere_is_listed(reader: Member) -> None:
    (found,) = [one for one in reader.json("ls", "-R", f"{PROJECT}/links:latest") if one["kind"] != "directory"]
    assert (found["path"], found["kind"], found["size_bytes"]) == ("far/readme.txt", "reference", REFERENCE["size"])
    assert (found["uri"], found["etag"].strip('"')) == (REFERENCE["ref"], REFERENCE["digest"])


def test_get_and_a_mount_have_what_was_recorded(reader: Member, recording: list[Exchange]) -> None:
    reader.run("get", f"{PROJECT}/bikes:first", "--root", reader.home / "got")
    assert files_in(reader.home / "got") == FILES
    with reader.mounted() as mounted:
        assert os.listdir(mounted) == [PROJECT]
        assert sorted(os.listdir(mounted / PROJECT)) == ["bikes", "links"]
        bikes = mounted / PROJECT / "bikes"
        assert sorted(os.listdir(bikes)) == ["best", "first", "latest", "v0", "v1"]
        for selector, files in (("first", FILES), ("latest", CHANGED)):
            assert files_in(bikes / selector) == files
            stats = {path: (bikes / selector / path).stat() for path in files}
            assert {path: one.st_size for path, one in stats.items()} == {path: len(files[path]) for path in files}
            shown_s = {path: one.st_mtime_ns // 10**9 for path, one in stats.items()}
            assert shown_s == times_of(recording, files)
        assert (mounted / PROJECT / "links/latest/far/readme.txt").stat().st_size == REFERENCE["size"]


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_are_read_as_the_same(recording: list[Exchange], tmp_path: Path, form: str) -> None:
    with serving(FORMS[form](recording)) as server:
        for name, files in (("v0", FILES), ("v1", CHANGED)):
            with client_of(server.url, KEY, tmp_path) as client:
                known = client.registry.aliases.list(PROJECT, "bikes")
                found = read(client, "bikes", name)
                links = read(client, "links", "v0")
            assert known == ({} if form == "nulls" else {"first": 0, "best": 1, "latest": 1})
            assert {path: one.content for path, one in found.items()} == files
            due_s = dict.fromkeys(files, told_s(recording, name)) if "births" in form else times_of(recording, files)
            assert {path: one.time_ns // 10**9 for path, one in found.items()} == due_s
            assert [one.content.decode() for one in links.values()] == [REFERENCE["ref"]]


@pytest.mark.parametrize(
    ("form", "after_ns"),
    [("", 0), ("Z", 0), ("+00:00", 0), (".5Z", 500_000_000), (".123", 123_000_000), (".123456Z", 123_456_000)],
)
def test_times_are_understood_in_every_form(
    recording: list[Exchange], tmp_path: Path, form: str, after_ns: int
) -> None:
    with serving(times(form)(times("other")(recording))) as server, client_of(server.url, KEY, tmp_path) as client:
        records = client.registry.versions.list(PROJECT, "bikes")
        due = [told_s(recording, one.name) * 10**9 + after_ns + one.number for one in records]
        assert [one.created_at_ns for one in records] == due
        found = read(client, "bikes", "v1")
        assert [found[path].time_ns for path in ("large.bin", "labels.csv")] == due
        assert client.registry.projects.get(PROJECT).created_at_ns % 10**9 == after_ns


def test_what_is_null_is_empty(recording: list[Exchange], tmp_path: Path) -> None:
    with serving(nulls(recording)) as server, client_of(server.url, KEY, tmp_path) as client:
        (artifact, _), (version, _) = (
            client.registry.artifacts.list(PROJECT),
            client.registry.versions.list(PROJECT, "bikes"),
        )
        assert (artifact.type, artifact.description) == (None, "")
        assert (version.description, version.metadata, version.aliases) == ("", {}, [])
        assert client.registry.versions.resolve(PROJECT, "bikes", "v0") == version


@pytest.mark.falsifies("access")
def test_a_url_that_expired_is_asked_for_anew(recording: list[Exchange], tmp_path: Path) -> None:
    with serving(recording, expires=True) as server, client_of(server.url, KEY, tmp_path) as client:
        assert {path: one.content for path, one in read(client, "bikes", "v1").items()} == CHANGED
    asked = [one.path for one in server.asked if one.path.startswith("/artifactsV2/")]
    assert [asked.count(path) for path in asked] == [2] * len(asked)
    assert len(set(asked)) == sum(len(content) > 0 for content in CHANGED.values())


def test_a_portfolio_has_numbers_and_aliases_of_its_own(recording: list[Exchange], tmp_path: Path) -> None:
    with serving(portfolio(recording)) as server, client_of(server.url, KEY, tmp_path) as client:
        assert [one.name for one in client.registry.artifacts.list(PROJECT)] == ["bikes", PORTFOLIO, "links"]
        (version,) = client.registry.versions.list(PROJECT, PORTFOLIO)
        assert (version.name, version.aliases) == ("v0", ["chosen"])
    with serving(portfolio(recording)) as server, client_of(server.url, KEY, tmp_path) as client:
        assert client.registry.versions.resolve(PROJECT, PORTFOLIO, "chosen") == version
        assert {path: one.content for path, one in read(client, PORTFOLIO, "v0").items()} == CHANGED


def test_what_was_not_recorded_is_refused_and_told(recording: list[Exchange], tmp_path: Path) -> None:
    with replayed(recording) as server:
        with client_of(server.url, KEY, tmp_path) as client, pytest.raises(NotFound):
            client.registry.versions.resolve(PROJECT, "bikes", "worst")
        with client_of(server.url, "0" * 40, tmp_path) as client, pytest.raises(NotAuthenticated):
            client.registry.projects.list()
    assert [json.loads(one.variables)["selector"] for one in server.unknown] == ["worst"]
    assert [one.operation for one in server.misplaced] == ["ArtfsProjects"]
