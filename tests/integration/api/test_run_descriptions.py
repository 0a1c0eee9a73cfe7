"""What is said of runs besides what they log: notes, tags; and tables that are logged as values."""

from __future__ import annotations

import pytest

import artfs
from artfs.errors import InvalidValue

pytestmark = pytest.mark.usefixtures("place")


def test_notes_and_tags_are_kept_changed_and_read_back() -> None:
    with artfs.init(notes="first try", tags=["baseline", "small", "baseline"], dir="anywhere") as run:
        assert (run.notes, run.tags) == ("first try", ("baseline", "small"))
        run.tags += ("night",)
    read = artfs.Api().run(run.path)
    assert (read.notes, read.tags) == ("first try", ("baseline", "small", "night"))
    read.notes = "the first that worked"
    assert artfs.Api().run(run.path).notes == "the first that worked"
    with artfs.init(id=run.id, resume="must") as again:
        assert again.tags == ("baseline", "small", "night")


@pytest.mark.parametrize("tags", ["baseline", [1], [""], ["a\n"], ["x"] * 101])
def test_what_are_no_tags_is_refused(tags: object) -> None:
    with pytest.raises(InvalidValue):
        artfs.init(tags=tags)  # type: ignore[arg-type]  # what a caller may get wrong
    assert artfs.run is None


def test_a_logged_table_is_a_version_that_the_history_points_to() -> None:
    with artfs.init() as run:
        run.log({"loss": 1.0, "val/worst cases": artfs.Table(columns=["id"], data=[[7], [9]])})
    read = artfs.Api().run(run.path)
    (row,) = read.history()
    pointer = row["val/worst cases"]
    assert (row["loss"], pointer["_type"]) == (1.0, "table-file")
    artifact = artfs.Api().artifact(pointer["artifact"], type="run_table")
    assert artifact.get(pointer["path"]).data == [[7], [9]]
    assert [version.name for version in read.logged_artifacts()] == [artifact.name]


def test_an_artifact_that_saves_itself_leaves_no_run_open() -> None:
    artifact = artfs.Artifact("bikes", "dataset")
    with artifact.new_file("a") as file:
        file.write("a")
    artifact.save()
    assert artfs.run is None
    producer = artifact.logged_by()
    assert producer is not None
    assert (producer.state, producer.job_type) == ("finished", "auto")


def test_whoever_finishes_alone_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with artfs.init(group="mistyped") as run:
        run.finish_artifact(artfs.Artifact("whole", "dataset"))
    assert "nobody but this run has contributed to whole in the group 'mistyped'" in caplog.text
