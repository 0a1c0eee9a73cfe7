"""Records of what a W&B server tells, however little or strange that is."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from artfs.wandb_client.queries import Collection, Edge, Project, Version, VersionsTold
from artfs.wandb_client.records import (
    ArtifactPlace,
    ShownNames,
    VersionRecords,
    artifact_record,
    metadata_of,
    number_of,
    project_record,
    time_ns,
    version_of,
)
from artfs.wire.records import VersionRecord

PLACE = ArtifactPlace("team", "vision", "bikes", "collection-1")
FULL = {
    "id": "QXJ0aWZhY3Q6MQ==",
    "state": "COMMITTED",
    "digest": "0" * 32,
    "versionIndex": 3,
    "size": "5000000000",
    "fileCount": 7,
    "createdAt": "2024-02-29T12:00:00.123456Z",
    "description": "what it is",
    "metadata": '{"a": [1]}',
    "artifactType": {"name": "dataset"},
    "aliases": [
        {"alias": "latest", "artifactCollection": {"id": "collection-1"}},
        {"alias": "best", "artifactCollection": {"id": "collection-1"}},
        {"alias": "linked", "artifactCollection": {"id": "portfolio-2"}},
        {"alias": "v7", "artifactCollection": {"id": "collection-1"}},
        {"alias": "a/b", "artifactCollection": {"id": "collection-1"}},
    ],
}


def told(**changed: Any) -> Version:
    return msgspec.convert({**FULL, **changed}, Version, strict=False)


def record(number: int | None = 3, **changed: Any) -> VersionRecord | None:
    found = version_of(PLACE, number, told(**changed), ShownNames())
    return None if found is None else found[1]


def test_a_version_is_as_the_server_tells_it() -> None:
    found = version_of(PLACE, 3, told(), ShownNames())
    assert found is not None
    version, kept = found
    created_at_ns = 1_709_208_000_123_456_000 + 3  # of the third after the first
    assert version == ("team", "vision", "bikes", 3, FULL["id"], FULL["digest"], created_at_ns)
    assert kept == VersionRecord(
        "vision", "bikes", 3, version.root, "dataset", "what it is", {"a": [1]}, 5_000_000_000, 7, created_at_ns, "",
        ["best", "latest"],
    )  # fmt: skip


def test_what_is_missing_of_a_version_makes_it_no_less_readable() -> None:
    little = version_of(PLACE, 0, Version("id", "COMMITTED", "d"), ShownNames())
    assert little is not None
    assert (little[1].size_bytes, little[1].created_at_ns, little[1].metadata, little[1].aliases) == (0, 0, {}, [])


@pytest.mark.parametrize("state", ["PENDING", "DELETED", None])
def test_only_what_is_committed_is_a_version(state: str | None) -> None:
    assert record(state=state) is None


def test_versions_without_a_number_or_a_digest_are_none() -> None:
    assert record(None) is None
    assert record(-1) is None
    assert record(digest=None) is None
    assert version_of(PLACE, 3, None, ShownNames()) is None


def test_the_number_is_that_in_the_collection_that_was_asked_for() -> None:
    assert number_of(Edge(told(), "v0")) == 0
    assert number_of(Edge(told())) == 3
    assert number_of(Edge()) is None


def test_a_name_that_cannot_be_one_here_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    names = ShownNames()
    with caplog.at_level(logging.WARNING):
        assert not names.shows("artifact", "a b", "an artifact of p")
        assert not names.shows("artifact", "a b", "an artifact of p")
        assert names.shows("artifact", "a-b", "an artifact of p")
        assert not names.shows("alias", "v07", "an alias of p/a:v0")
    assert len(caplog.records) == 2
    assert "a b" in caplog.text


def test_versions_are_found_by_number_and_by_alias() -> None:
    kept = record()
    assert kept is not None
    records = VersionRecords({3: kept}, {"best": 3, "gone": 9})
    assert records.find("v3") is records.find("best") is kept
    assert [records.find(name) for name in ("v4", "v03", "gone", "worst", "")] == [None] * 5
    assert len(records) == 1


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01", 10**9),
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T01:00:01+01:00", 10**9),
        ("2023-11-14T22:13:20.000001Z", 1_700_000_000_000_001_000),
        ("1960-01-01T00:00:00Z", 0),
        ("yesterday", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_times_are_read_to_the_microsecond(text: str | None, ns: int) -> None:
    assert time_ns(text) == ns


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": {"b": null}}', {"a": {"b": None}}),
        ('{"a": NaN, "b": -Infinity}', {"a": "NaN", "b": "-Infinity"}),
        ("[1]", {}),
        ("{", {}),
        ("", {}),
        (None, {}),
        ('{"a": "\\ud800"}', {}),
        ('{"a":' * 100_000, {}),
    ],
)
def test_metadata_is_an_object_or_nothing(text: str | None, found: dict[str, Any]) -> None:
    assert metadata_of(text) == found


def test_projects_and_artifacts_are_as_the_server_tells_them() -> None:
    project = project_record(Project("id", "vision", "1970-01-01T00:00:01Z"))
    assert (project.name, project.created_at_ns, len(project.uid)) == ("vision", 10**9, 16)
    assert project.uid != project_record(Project("other", "vision")).uid
    text = b'{"name": "bikes", "defaultArtifactType": {"name": "dataset"}, "artifacts": {"totalCount": 4}}'
    artifact = artifact_record("vision", msgspec.json.decode(text, type=Collection))
    assert (artifact.name, artifact.type, artifact.description, artifact.version_count) == ("bikes", "dataset", "", 4)
    assert artifact_record("vision", Collection("empty")).type is None


def test_an_answer_with_more_or_less_than_was_asked_for_is_read() -> None:
    text = b'{"project": {"more": 1, "artifactCollection": {"id": "c", "artifacts": {"edges": [{"node": null}]}}}}'
    found = msgspec.json.decode(text, type=VersionsTold).project
    assert found is not None
    assert found.artifact_collection is not None
    assert found.artifact_collection.artifacts is not None
    assert not found.artifact_collection.artifacts.page_info.has_next_page
    assert msgspec.json.decode(b'{"project": null}', type=VersionsTold).project is None
