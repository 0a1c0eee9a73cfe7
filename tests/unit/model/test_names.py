"""What may be called what, and how references are read."""

from __future__ import annotations

import pytest

from artfs.errors import InvalidName
from artfs.model.names import (
    ArtifactRef,
    check_alias,
    check_file_name,
    check_name,
    parse_version,
    split_path,
    version_name,
)


@pytest.mark.parametrize("name", ["a", "A9", "_x", "9", "bike-dataset", "v1.2", "x" * 128, "vision_", "a..b"])
def test_a_name_is_letters_digits_and_a_few_signs(name: str) -> None:
    assert check_name("project", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "-x", "a b", "a/b", "é", "x" * 129, "a\n", "a:b", "a\0"])
def test_anything_else_is_refused_saying_what_it_was_to_name(name: str) -> None:
    with pytest.raises(InvalidName, match="project"):
        check_name("project", name)


@pytest.mark.parametrize(
    ("alias", "allowed"), [("best", True), ("v", True), ("v1x", True), ("V1", True), ("latest", True)]
)
def test_an_alias_is_a_name(alias: str, allowed: bool) -> None:
    assert (check_alias(alias) == alias) is allowed


@pytest.mark.parametrize("alias", ["v0", "v12", "v007", ".staging"])
def test_an_alias_cannot_look_like_a_version(alias: str) -> None:
    with pytest.raises(InvalidName):
        check_alias(alias)


@pytest.mark.parametrize(
    ("name", "number"),
    [("v0", 0), ("v10", 10), ("v010", None), ("v", None), ("V1", None), ("1", None), ("v-1", None), ("v1\n", None)],
)
def test_a_version_has_one_name(name: str, number: int | None) -> None:
    assert parse_version(name) == number
    if number is not None:
        assert version_name(number) == name


@pytest.mark.parametrize("name", ["a", " ", "...", "x" * 255, "é" * 127, "\n", "😀", "\x7f", "con"])
def test_a_file_may_have_any_name_that_linux_can_hold(name: str) -> None:
    assert check_file_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "x" * 256, "é" * 128, "\udcff"])
def test_no_other_name_can_be_in_a_version(name: str) -> None:
    with pytest.raises(InvalidName):
        check_file_name(name)


def test_a_path_is_split_into_names() -> None:
    assert split_path("") == split_path("/") == ()
    assert split_path("a//b/") == ("a", "b")
    with pytest.raises(InvalidName):
        split_path("a/../b")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("vision", ArtifactRef("vision")),
        ("vision/", ArtifactRef("vision")),
        ("vision/bikes", ArtifactRef("vision", "bikes")),
        ("vision/bikes:best", ArtifactRef("vision", "bikes", "best")),
        ("vision/bikes:v3/a b/c", ArtifactRef("vision", "bikes", "v3", ("a b", "c"))),
        ("vision/bikes:v3/a:b", ArtifactRef("vision", "bikes", "v3", ("a:b",))),
    ],
)
def test_a_reference_is_read_as_people_type_it(text: str, parsed: ArtifactRef) -> None:
    assert ArtifactRef.parse(text) == parsed
    assert ArtifactRef.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    ["", "/", "a/b/c", "a:b", "a/b:", "a/b:v01", "a/b:-x", "a/b/c:v1", ":v1", "a/b:v1/..", "a /b", "a/b:best/./x"],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        ArtifactRef.parse(text)
