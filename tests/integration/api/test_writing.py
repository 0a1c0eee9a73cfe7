"""Artifacts that a script makes: what is added, as it was then, and what is refused."""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

import artfs
from artfs.errors import (
    AlreadyExists,
    FileChanged,
    InvalidName,
    InvalidValue,
    PathNotFound,
    ReferenceUnavailable,
    TypeMismatch,
    UnsupportedFile,
    UsageError,
)
from tests.integration.api.conftest import write_files
from tests.integration.serving import wait_until

pytestmark = pytest.mark.usefixtures("place")


def _log(artifact: artfs.Artifact) -> artfs.Artifact:
    with artfs.init() as run:
        return run.log_artifact(artifact)


def _contents(artifact: artfs.Artifact) -> dict[str, bytes]:
    found = {}
    for path, entry in artifact.manifest.entries.items():
        with entry.open() as file:
            found[path] = file.read()
    return found


def test_files_and_directories_are_added_under_names() -> None:
    write_files(Path("d"), {"a": "a", "b/c": "c", "b/d/e": "e"})
    Path("d/empty").mkdir()
    Path("d/run.sh").write_text("#!")
    Path("d/run.sh").chmod(0o755)
    artifact = artfs.Artifact("bikes", "dataset")
    assert artifact.add_file("d/a") == "a"
    artifact.add_file(Path("d/b/c"), name="deep/er/c")
    artifact.add_dir("d", name="all/of it/")
    artifact.add_dir("d/b")
    logged = _log(artifact)
    assert _contents(logged) == {
        "a": b"a",
        "c": b"c",
        "d/e": b"e",
        "deep/er/c": b"c",
        "all/of it/a": b"a",
        "all/of it/b/c": b"c",
        "all/of it/b/d/e": b"e",
        "all/of it/run.sh": b"#!",
    }
    root = Path(logged.download())
    assert (root / "all/of it/empty").is_dir()
    assert os.access(root / "all/of it/run.sh", os.X_OK)


def test_the_same_content_by_put_and_by_the_api_is_the_same_version() -> None:
    from artfs.api.session import session
    from artfs.client.put import put
    from artfs.wire.records import NO_ROOT, SealRequest

    write_files(Path("d"), {f"{i % 7}/{i}": str(i) for i in range(3000)})
    Path("d/large").write_bytes(os.urandom(3 << 20))
    Path("d/link").symlink_to("0/0")
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.add_dir("d")
    logged = _log(artifact)
    now = session()
    version = put(now.client, now.config.project, Path("d"), SealRequest("other", NO_ROOT)).version
    assert (logged.digest, logged.file_count) == (version.digest.text, version.file_count)


def test_a_file_that_changes_or_goes_after_it_was_added_is_logged_as_it_was() -> None:
    write_files(Path("d"), {"a": "before", "b": "before", "sub/c": "before"})
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.add_file("d/a")
    artifact.add_dir("d/sub")
    Path("d/a").write_text("after!")
    Path("d/sub/c").unlink()
    with artifact.new_file("n") as file:
        file.write("new")
    assert _contents(_log(artifact)) == {"a": b"before", "c": b"before", "n": b"new"}
    assert list((Path(os.environ["ARTFS_DATA_DIR"]) / "adding").glob("*/*")) == []


def test_a_file_that_is_left_in_place_must_not_change() -> None:
    write_files(Path("d"), {"a": "before", "b": "b"})
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.add_file("d/a", policy="immutable")
    Path("d/a").write_text("after, and longer")
    with artfs.init() as run, pytest.raises(FileChanged, match="d/a"):
        run.log_artifact(artifact)
    assert artifact.is_draft()
    artifact.add_file("d/a", policy="immutable", overwrite=True)
    artifact.add_dir("d", name="in place", policy="immutable")
    assert _contents(_log(artifact))["a"] == b"after, and longer"
    assert not (Path(os.environ["ARTFS_DATA_DIR"]) / "adding").exists()


def test_one_path_has_one_content() -> None:
    write_files(Path("d"), {"a": "a", "same": "a", "b": "b"})
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.add_file("d/a", name="x")
    artifact.add_file("d/same", name="x")
    for name in ("x", "x/y"):
        with pytest.raises(AlreadyExists):
            artifact.add_file("d/b", name=name)
    artifact.add_file("d/b", name="x", overwrite=True)
    artifact.add_file("d/b", name="z/deep")
    with pytest.raises(AlreadyExists):
        artifact.add_file("d/b", name="z", overwrite=True)
    assert _contents(_log(artifact)) == {"x": b"b", "z/deep": b"b"}


def test_what_was_added_is_removed_again() -> None:
    write_files(Path("d"), {"a": "a", "b/c": "c", "b/d": "d"})
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.add_dir("d")
    artifact.remove("b/d")
    artifact.remove(Path("a"))
    with pytest.raises(PathNotFound):
        artifact.remove("b/d")
    logged = _log(artifact)
    assert _contents(logged) == {"b/c": b"c"}
    for change in (lambda: logged.remove("b/c"), lambda: logged.add_file("d/a"), lambda: logged.add_dir("d")):
        with pytest.raises(UsageError, match="never changes"):
            change()


def test_links_within_are_kept_and_others_followed() -> None:
    write_files(Path("outside"), {"target": "t"})
    write_files(Path("d"), {"a": "a"})
    Path("d/within").symlink_to("a")
    Path("d/out").symlink_to("../outside/target")
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.add_dir("d")
    root = Path(_log(artifact).download())
    assert os.readlink(root / "within") == "a"
    assert not (root / "out").is_symlink()
    assert (root / "out").read_text() == "t"


@pytest.mark.parametrize("policy", ["mutable", "immutable"])
def test_adding_a_directory_tells_how_far_it_is(policy: Literal["mutable", "immutable"]) -> None:
    write_files(Path("d"), {"a": "a", "b/c": "cc"})
    Path("d/large").write_bytes(bytes(5 << 20))
    Path("d/link").symlink_to("a")
    told: list[tuple[int, int]] = []
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.add_dir("d", policy=policy, progress=lambda files, size_bytes: told.append((files, size_bytes)))
    assert told == sorted(told)
    assert told[-1] == (4, 3 + (5 << 20))
    partly = [size_bytes for _, size_bytes in told if 3 < size_bytes < 5 << 20]
    assert bool(partly) is (policy == "mutable" and not _shares_blocks())


def _shares_blocks() -> bool:
    """Whether copies take no time here."""
    with open("d/large", "rb") as original, open("copy", "wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), 0x40049409, original.fileno())
        except OSError:
            return False
    return True


def test_a_link_that_leaves_through_another_is_followed_and_never_kept() -> None:
    write_files(Path("d"), {"a": "a"})
    write_files(Path("."), {"beside": "b"})
    Path("d/here").symlink_to(".")
    Path("d/out").symlink_to("here/../beside")
    Path("d/in").symlink_to("here/../d/a")
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.add_dir("d")
    root = Path(_log(artifact).download())
    assert os.readlink(root / "here") == "."
    assert not (root / "out").is_symlink()
    assert (root / "out").read_text() == "b"
    assert not (root / "in").is_symlink()


def test_links_of_several_directories_that_leave_together_are_refused() -> None:
    Path("one").mkdir()
    Path("one/here").symlink_to(".")
    Path("two").mkdir()
    Path("two/out").symlink_to("here/../x")
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.add_dir("one")
    artifact.add_dir("two")
    with pytest.raises(UnsupportedFile, match=r"out.*leaves the version.* leads to '\.\./x'"):
        _log(artifact)


def test_what_no_version_holds_is_refused_when_it_is_added() -> None:
    write_files(Path("d"), {"a": "a"})
    Path("other").mkdir()
    os.mkfifo("d/fifo")
    Path("link").symlink_to("nothing")
    artifact = artfs.Artifact("bikes", "dataset")
    with pytest.raises(UnsupportedFile, match="fifo"):
        artifact.add_dir("d")
    Path("d/fifo").unlink()
    Path("d/a").chmod(0o4755)
    with pytest.raises(UnsupportedFile, match="setuid"):
        artifact.add_file("d/a")
    Path("d/a").chmod(0o644)
    for target in ("/nowhere/at/all", "../other"):
        Path("other/link").unlink(missing_ok=True)
        Path("other/link").symlink_to(target)
        with pytest.raises(UnsupportedFile):
            artifact.add_dir("other")
    with pytest.raises(UnsupportedFile):
        artifact.add_file("d")
    with pytest.raises(InvalidValue):
        artifact.add_dir("d/a")
    for path in ("nothing", "link"):
        with pytest.raises(PathNotFound):
            artifact.add_file(path)
    for name in ("../x", "a/../b", "a\0b", "x" * 256):
        with pytest.raises(InvalidName):
            artifact.add_file("d/a", name=name)


def test_a_new_file_is_only_added_if_writing_it_succeeds() -> None:
    artifact = artfs.Artifact("bikes", "dataset")
    with pytest.raises(ZeroDivisionError), artifact.new_file("bad") as file:
        file.write(str(1 // len(artifact.aliases)))
    with artifact.new_file("text", encoding="latin-1") as file:
        file.write("é")
    with artifact.new_file("bytes", "wb") as file:
        file.write(b"\0\1")
    with pytest.raises(AlreadyExists), artifact.new_file("text", "x") as file:
        file.write("other")
    assert _contents(_log(artifact)) == {"text": b"\xe9", "bytes": b"\0\1"}


def test_tables_come_back_by_name() -> None:
    artifact = artfs.Artifact("bikes", "dataset")
    assert artifact.add(artfs.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]]), "my/table") == "my/table.table.json"
    _log(artifact)
    table = artfs.Api().artifact("bikes:latest").get("my/table")
    assert (table.columns, table.data) == (["a", "b"], [[1, "x"], [2, "y"]])
    assert artfs.Api().artifact("bikes:latest").get("my/table.table.json") is not None


def test_names_types_and_descriptions_are_checked_when_it_is_made() -> None:
    for name in ("a b", "a:v1", "../a"):
        with pytest.raises(InvalidName):
            artfs.Artifact(name, "dataset")
    with pytest.raises(InvalidValue, match="type"):
        artfs.Artifact("a")
    with pytest.raises(InvalidValue, match="name"):
        artfs.Artifact(type="dataset")
    with pytest.raises(InvalidValue):
        artfs.Artifact("a", "dataset", metadata={"x": object()})
    with pytest.raises(InvalidValue):
        artfs.Artifact("a", "dataset", ttl=timedelta(seconds=-1))


def test_a_type_stays_what_it_is_and_nothing_is_logged_otherwise() -> None:
    write_files(Path("d"), {"a": "a"})
    for name in ("first", "second"):
        artifact = artfs.Artifact("bikes", "dataset" if name == "first" else "model")
        artifact.add_file("d/a", name=name)
        if name == "first":
            _log(artifact)
            continue
        with artfs.init(), pytest.raises(TypeMismatch):
            artfs.log_artifact(artifact)
    assert len(artfs.Api().artifact_versions("dataset", "bikes")) == 1


def test_description_metadata_aliases_and_time_to_live_go_with_it() -> None:
    artifact = artfs.Artifact("bikes", "dataset", "words", {"a": (1, 2)}, ttl=timedelta(hours=2))
    artifact.metadata["b"] = True
    artifact.aliases.append("best")
    _log(artifact)
    found = artfs.Api().artifact("bikes:best")
    assert (found.description, found.metadata) == ("words", {"a": [1, 2], "b": True})
    assert found.ttl is not None
    assert timedelta(hours=1, minutes=50) < found.ttl <= timedelta(hours=2)


def test_saving_an_artifact_that_is_not_logged_logs_it() -> None:
    artifact = artfs.Artifact("bikes", "dataset")
    artifact.save()
    assert artifact.name == "bikes:v0"
    artfs.finish()


def test_references_are_added_without_their_bytes(tmp_path: Path, place: str) -> None:
    if place == "server":  # whose clients follow no file: references
        with pytest.raises(artfs.errors.ReferenceForbidden):
            artfs.Artifact("bikes", "dataset").add_reference(f"file://{tmp_path}")
        return
    write_files(tmp_path / "far", {"a": "a", "b/c": "c"})
    artifact = artfs.Artifact("bikes", "dataset")
    assert artifact.add_reference(f"file://{tmp_path}/far/a", name="one") == ["one"]
    assert sorted(artifact.add_reference(f"file://{tmp_path}/far", name="all")) == ["all/a", "all/b/c"]
    with pytest.raises(InvalidValue):
        artifact.add_reference(f"file://{tmp_path}/far", name="more", max_objects=1)
    with pytest.raises((PathNotFound, ReferenceUnavailable)):
        artifact.add_reference(f"file://{tmp_path}/nothing")
    logged = _log(artifact)
    assert _contents(logged) == {"all/a": b"a", "all/b/c": b"c", "one": b"a"}
    entry = logged.get_entry("one")
    assert (entry.ref, entry.ref_target(), entry.size) == (f"file://{tmp_path}/far/a", f"file://{tmp_path}/far/a", 1)
    assert entry.digest == "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    logged.verify(logged.download())


def test_an_artifact_of_code_is_named_after_the_script(tmp_path: Path) -> None:
    script = tmp_path / "work/train.py"
    script.write_text(
        "import artfs as wandb\ncode_artifact = wandb.Artifact(type='code')\n"
        "code_artifact.add_file('./train.py')\nwandb.log_artifact(code_artifact)\n"
    )
    subprocess.run([sys.executable, script], check=True, timeout=60)
    (found,) = artfs.Api().artifact_versions("code", "train")
    assert _contents(found) == {"train.py": script.read_bytes()}
    producer = found.logged_by()
    assert producer is not None
    assert producer.state == "finished"


def test_copies_of_a_process_that_was_killed_are_removed_by_the_next(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": "a"})
    code = f"import artfs; a = artfs.Artifact('x', 'y'); a.add_file({str(tmp_path / 'a')!r}); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    adding = Path(os.environ["ARTFS_DATA_DIR"]) / "adding"
    try:
        wait_until(lambda: list(adding.glob("*/1")), "it holds a copy")
        other = artfs.Artifact("x", "y")
        other.add_file(tmp_path / "a")
        assert len(list(adding.glob("*/1"))) == 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    another = artfs.Artifact("x", "y")
    another.add_file(tmp_path / "a")
    assert len(list(adding.glob("*/1"))) == 2


def test_aliases_of_logging_that_failed_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("1")
    artifact = artfs.Artifact("model", type="model")
    artifact.add_file(tmp_path / "large", policy="immutable")
    (tmp_path / "large").write_text("22")
    with artfs.init() as run:
        with pytest.raises(FileChanged):
            run.log_artifact(artifact, aliases=["best"])
        artifact.add_file(tmp_path / "large", overwrite=True)
        assert run.log_artifact(artifact, aliases=["worst"]).aliases == ["latest", "worst"]


@pytest.mark.parametrize("path", ["../x", "a/../../x", ".", ""])
def test_a_path_that_no_file_can_have_is_refused_before_it_is_written(path: str) -> None:
    with pytest.raises(InvalidName), artfs.Artifact("it", type="dataset").new_file(path):
        pytest.fail("something was written that cannot be added")


def test_a_logged_artifact_can_be_given_to_another_process() -> None:
    artifact = artfs.Artifact("it", type="dataset")
    with artifact.new_file("x") as file:
        file.write("1")
    assert _contents(pickle.loads(pickle.dumps(_log(artifact)))) == {"x": b"1"}
