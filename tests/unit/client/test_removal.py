"""What names, patterns and criteria choose for deletion, from lists alone."""

from __future__ import annotations

import pytest

from artfs.client.removal import Criteria, Listing, RemovalChoice, Target, plan_removal
from artfs.errors import (
    AliasNotFound,
    ArtfsError,
    ArtifactNotFound,
    InvalidName,
    InvalidValue,
    NotEmpty,
    VersionNotFound,
)
from artfs.model.digest import Digest
from artfs.wire.deletions import Removal
from artfs.wire.records import ArtifactRecord, VersionRecord

DAY_S = 86_400
ALL = Criteria()
NOW_NS = 1000 * DAY_S * 10**9


def version(artifact: str, number: int, *aliases: str, age_d: float = 0) -> VersionRecord:
    made_ns = NOW_NS - int(age_d * DAY_S * 10**9)
    return VersionRecord(
        "p", artifact, number, Digest(bytes(32)), "dataset", "", {}, 1, 1, made_ns, "alice", list(aliases)
    )


VERSIONS = {
    ("p", "bikes"): [
        version("bikes", 0, "first", age_d=90),
        version("bikes", 1, age_d=60),
        version("bikes", 10, age_d=30),
        version("bikes", 11, "best", age_d=29.99),
        version("bikes", 12, "latest", age_d=1),
    ],
    ("p", "exp-1"): [version("exp-1", 0, "latest", age_d=100)],
    ("p", "exp-2"): [version("exp-2", 0, age_d=100), version("exp-2", 1, "latest")],
    ("p", "none"): [],
}
LISTING = Listing(
    {"p": [ArtifactRecord("p", name, "dataset", "", 0, len(of)) for (_, name), of in VERSIONS.items()]}, VERSIONS
)


def choose(
    *refs: str, criteria: Criteria = ALL, recursive: bool = False, delete_aliases: bool = False
) -> RemovalChoice:
    targets = [Target.parse(ref) for ref in refs]
    return plan_removal(targets, LISTING, criteria, NOW_NS, recursive=recursive, delete_aliases=delete_aliases)


def versions(choice: RemovalChoice) -> dict[str, list[int]]:
    return choice.removals["p"].versions


@pytest.mark.parametrize(
    ("refs", "chosen"),
    [
        (["p/bikes:v1"], {"bikes": [1]}),
        (["p/bikes:best"], {"bikes": [11]}),
        (["p/bikes:v1", "p/bikes:v0", "p/bikes:first"], {"bikes": [0, 1]}),
        (["p/bikes:v1*"], {"bikes": [1, 10, 11, 12]}),
        (["p/bikes:v1?"], {"bikes": [10, 11, 12]}),
        (["p/bikes:v[01]"], {"bikes": [0, 1]}),
        (["p/bikes:*st"], {"bikes": [0, 11, 12]}),
        (["p/exp-*:v0"], {"exp-1": [0], "exp-2": [0]}),
        (["p/*:latest"], {"bikes": [12], "exp-1": [0], "exp-2": [1]}),
    ],
)
def test_names_and_patterns_choose_versions(refs: list[str], chosen: dict[str, list[int]]) -> None:
    choice = choose(*refs)
    assert versions(choice) == chosen
    assert not choice.removals["p"].delete_aliases
    assert choice.spared == []


@pytest.mark.parametrize(
    ("refs", "criteria", "chosen", "spared"),
    [
        (["p/bikes"], Criteria(unaliased=True), {"bikes": [1, 10]}, []),
        (["p/bikes"], Criteria(older_than_s=30 * DAY_S), {"bikes": [1, 10]}, ["v0"]),
        (["p/bikes"], Criteria(older_than_s=31 * DAY_S), {"bikes": [1]}, ["v0"]),
        (["p/bikes"], Criteria(keep=1), {"bikes": [1, 10]}, ["v0", "v11"]),
        (["p/bikes"], Criteria(unaliased=True, keep=4), {}, []),
        (["p/bikes"], Criteria(older_than_s=50 * DAY_S, keep=3), {"bikes": [1]}, ["v0"]),
        (["p/bikes"], Criteria(keep=99), {}, []),
        (["p/bikes"], Criteria(keep=0), {"bikes": [1, 10]}, ["v0", "v11", "v12"]),
        (["p/bikes:v1*"], Criteria(unaliased=True), {"bikes": [1, 10]}, []),
        (["p/exp-*"], Criteria(older_than_s=1 * DAY_S), {"exp-2": [0]}, ["v0"]),
    ],
)
def test_criteria_must_all_hold_and_spare_what_has_aliases(
    refs: list[str], criteria: Criteria, chosen: dict[str, list[int]], spared: list[str]
) -> None:
    choice = choose(*refs, criteria=criteria)
    assert versions(choice) == chosen
    assert [v.name for v in choice.spared] == spared


def test_aliases_go_along_where_that_was_asked_for() -> None:
    choice = choose("p/bikes", delete_aliases=True, criteria=Criteria(older_than_s=30 * DAY_S))
    assert choice.removals["p"] == Removal({"bikes": [0, 1, 10]}, delete_aliases=True)
    assert choice.spared == []


def test_recursion_is_for_what_contains_something() -> None:
    with pytest.raises(NotEmpty):
        choose("p")
    with pytest.raises(NotEmpty):
        choose("p/exp-*")
    assert choose("p/none").removals["p"] == Removal(artifacts=["none"])
    assert choose("p/exp-*", recursive=True).removals["p"].artifacts == ["exp-1", "exp-2"]
    assert choose("p", recursive=True).removals["p"].whole_project
    assert choose("p", "p/bikes:v1", recursive=True).removals["p"].whole_project


def test_criteria_on_a_project_are_about_versions_of_all_its_artifacts() -> None:
    with pytest.raises(InvalidValue, match="recursive"):
        choose("p", criteria=Criteria(unaliased=True))
    choice = choose("p", recursive=True, criteria=Criteria(unaliased=True))
    assert choice.removals["p"] == Removal({"bikes": [1, 10], "exp-2": [0]})


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        ("p/nope", ArtifactNotFound),
        ("p/nope*", ArtifactNotFound),
        ("p/nope:v1", ArtifactNotFound),
        ("p/bikes:v7", VersionNotFound),
        ("p/bikes:worst", AliasNotFound),
        ("p/bikes:w*", AliasNotFound),
    ],
)
def test_what_means_nothing_is_an_error(ref: str, error: type[ArtfsError]) -> None:
    with pytest.raises(error):
        choose(ref, recursive=True)


@pytest.mark.parametrize(
    "ref", ["*", "p*/bikes", "p/*/", "p/a*/b", "p/a:v1*/file", "p/a*:", "*:v1", "p/a b*", "p/a:v1/file"]
)
def test_what_is_no_reference_and_no_pattern_is_refused(ref: str) -> None:
    with pytest.raises(InvalidName):
        Target.parse(ref)
