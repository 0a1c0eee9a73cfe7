"""Names of runs and versions as users write them, and ids that are chosen."""

from __future__ import annotations

import random

import pytest

from artfs.errors import InvalidName, InvalidValue
from artfs.model.lineage import RunRef, VersionRef, choose_id
from artfs.model.names import LABEL_CHARACTERS_MAX, check_label, check_name


def test_a_run_is_named_by_project_and_id_and_an_entity_is_dropped() -> None:
    assert RunRef.parse("vision/r1") == RunRef("vision", "r1")
    assert RunRef.parse("team/vision/r1") == RunRef("vision", "r1")
    assert str(RunRef("vision", "r1")) == "vision/r1"


@pytest.mark.parametrize("text", ["", "r1", "vision/", "/", "a/b/c/d", "vision/r 1", ".team/vision/r1", "vision/r1:v0"])
def test_what_names_no_run_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        RunRef.parse(text)


def test_a_version_is_named_by_project_artifact_and_number() -> None:
    ref = VersionRef.parse("vision/bikes:v12")
    assert ref == VersionRef("vision", "bikes", 12)
    assert VersionRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text", ["vision/bikes", "vision/bikes:latest", "bikes:v0", "vision/bikes:v01", "a/b/c:v0", "a/b:v-1"]
)
def test_what_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        VersionRef.parse(text)


def test_chosen_ids_are_names_and_differ() -> None:
    ids = [choose_id(random.Random(seed).randbytes) for seed in range(1000)]
    assert len(set(ids)) == 1000
    assert all(check_name("run", id_) and len(id_) == 8 and id_ == id_.lower() for id_ in ids)
    assert {letter for id_ in ids for letter in id_} == set("0123456789abcdefghijklmnopqrstuvwxyz")


def test_a_label_is_any_short_text_that_can_be_printed() -> None:
    for text in ("", "night 3", "überprüft", "x" * LABEL_CHARACTERS_MAX):
        assert check_label("group", text) == text
    for text in ("a\nb", "\0", "\ud800", "x" * (LABEL_CHARACTERS_MAX + 1)):
        with pytest.raises(InvalidValue, match="group"):
            check_label("group", text)
