"""`artfs.Api` and artifacts that are versions: what is told of them, their files, and what is written to disk."""

from __future__ import annotations

import getpass
import hashlib
import os
import pickle
import random
import re
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import artfs
from artfs.api.session import session
from artfs.errors import (
    AliasNotFound,
    ArtifactNotFound,
    DirectoryDiffers,
    InvalidName,
    InvalidValue,
    PathNotFound,
    StillAliased,
    TypeMismatch,
    UsageError,
    VersionNotFound,
)
from artfs.store.owned import owned_part
from tests.integration.api.conftest import Putting, write_files

RND = random.Random(5)
FILES: dict[str, bytes] = {
    "a.txt": b"a",
    "images/1.png": RND.randbytes(3000),
    "images/deep/2.png": b"",
    "large.bin": RND.randbytes(3 << 20),
}


def _tree(root: str | Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in Path(root).rglob("*") if p.is_file()}


@pytest.fixture
def bikes(make: Putting) -> artfs.Artifact:
    make("bikes", {"old": "old"})
    make(
        "bikes", FILES, aliases=["best"], type="dataset", description="Two wheels", metadata={"f1": 0.5, "of": {"n": 1}}
    )
    return artfs.Api().artifact("bikes:best")


def test_a_version_tells_what_it_is(bikes: artfs.Artifact, place: str) -> None:
    entity = "geoff" if place == "server" else getpass.getuser()
    assert (bikes.name, bikes.version, bikes.type, bikes.state) == ("bikes:v1", "v1", "dataset", "COMMITTED")
    assert bikes.qualified_name == f"{entity}/{os.environ['ARTFS_PROJECT']}/bikes:v1"
    assert (bikes.entity, bikes.project) == (entity, os.environ["ARTFS_PROJECT"])
    assert (bikes.description, bikes.metadata) == ("Two wheels", {"f1": 0.5, "of": {"n": 1}})
    assert sorted(bikes.aliases) == ["best", "latest"]
    assert (bikes.size, bikes.file_count) == (sum(len(content) for content in FILES.values()), 4)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", bikes.digest)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", bikes.created_at)
    assert bikes.ttl is None
    assert not bikes.is_draft()


def test_names_are_accepted_with_entity_and_project_and_without(bikes: artfs.Artifact) -> None:
    project = os.environ["ARTFS_PROJECT"]
    api = artfs.Api(overrides={"project": project, "entity": "anybody"})
    for name in ("bikes", "bikes:latest", "bikes:v1", f"{project}/bikes:best", f"anybody/{project}/bikes:best"):
        assert api.artifact(name).name == "bikes:v1"
    assert artfs.Api().artifact(f"{project}/bikes:v0").digest != bikes.digest
    assert artfs.Api().default_entity == bikes.entity


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("bikes:nothing", AliasNotFound),
        ("bikes:v7", VersionNotFound),
        ("nothing:latest", ArtifactNotFound),
        ("a/b/c/bikes:v1", InvalidName),
        ("bikes:", None),
        ("bi kes:v1", InvalidName),
        ("bikes:v1/path", InvalidName),
    ],
)
def test_what_is_not_there_is_an_error_that_says_so(
    bikes: artfs.Artifact, name: str, error: type[Exception] | None
) -> None:
    if error is None:
        assert artfs.Api().artifact(name).name == "bikes:v1"
        return
    with pytest.raises(error):
        artfs.Api().artifact(name)


def test_the_type_is_checked_where_it_is_given(bikes: artfs.Artifact) -> None:
    api = artfs.Api()
    assert api.artifact("bikes:best", type="dataset").name == "bikes:v1"
    with pytest.raises(TypeMismatch):
        api.artifact("bikes:best", type="model")
    with pytest.raises(ArtifactNotFound):
        api.artifact_versions("model", "bikes")


def test_versions_are_listed_newest_first_and_once(make: Putting) -> None:
    for i in range(5):
        make("bikes", {"n": str(i)})
    versions = artfs.Api().artifact_versions("dataset", "bikes")
    assert [version.version for version in versions] == ["v4", "v3", "v2", "v1", "v0"]
    assert (len(versions), versions[-1].version, [v.version for v in versions[1:3]]) == (5, "v0", ["v3", "v2"])
    make("bikes", {"n": "later"})
    assert len(versions) == 5


def test_a_loop_over_versions_may_delete_them(make: Putting) -> None:
    for i in range(5):
        make("bikes", {"n": str(i)}, aliases=["keep"] if i == 2 else [])
    for version in artfs.Api().artifact_versions("dataset", "bikes"):
        if len(version.aliases) == 0:
            version.delete()
    assert [version.version for version in artfs.Api().artifact_versions("dataset", "bikes")] == ["v4", "v2"]


def test_projects_types_and_artifacts_are_listed(bikes: artfs.Artifact, make: Putting) -> None:
    make("net", {"n": "n"}, type="model")
    api = artfs.Api()
    assert bikes.project in [project.name for project in api.projects()]
    assert [type_.name for type_ in api.artifact_types()] == ["dataset", "model"]
    assert [found.name for found in api.artifact_type("model").collections()] == ["net"]
    (collection,) = api.artifact_collections(bikes.project, "dataset")
    assert (collection.name, len(collection.versions())) == ("bikes", 2)
    assert collection.aliases() == {"best": "v1", "latest": "v1"}


def test_a_manifest_has_every_file_with_its_size_and_its_own_digest(bikes: artfs.Artifact) -> None:
    entries = bikes.manifest.entries
    assert list(entries) == list(FILES)
    for path, content in FILES.items():
        entry, data = entries[path], content
        assert (entry.path, entry.size, entry.ref) == (path, len(data), None)
        assert entry.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
        with entry.open() as file:
            assert file.read() == data
    assert len(bikes.manifest) == 4
    assert [entry.name for entry in bikes.files()] == list(FILES)
    assert [entry.name for entry in bikes.files(["a.txt", "nothing", "images"])] == ["a.txt"]


def test_a_file_is_read_at_any_place(bikes: artfs.Artifact) -> None:
    data = FILES["large.bin"]
    with bikes.get_entry("large.bin").open() as file:
        for offset in (0, 1, 1 << 20, (3 << 20) - 5):
            assert file.seek(offset) == offset
            assert file.read(10) == data[offset : offset + 10]
        assert file.seek(0, os.SEEK_END) == 3 << 20
        assert file.read() == b""


def test_download_writes_all_files_and_leaves_others(bikes: artfs.Artifact) -> None:
    assert bikes.download() == "artifacts/bikes:v1"
    write_files(Path("artifacts/bikes:v1"), {"other": "mine", "a.txt": "changed"})
    assert bikes.download() == "artifacts/bikes:v1"
    assert _tree("artifacts/bikes:v1") == {**FILES, "other": b"mine"}
    assert bikes.download("elsewhere") == "elsewhere"
    assert _tree("elsewhere") == FILES


def test_a_part_is_downloaded_under_its_own_path(bikes: artfs.Artifact) -> None:
    bikes.download("part", path_prefix="images/")
    assert sorted(_tree("part")) == ["images/1.png", "images/deep/2.png"]
    bikes.download("one", path_prefix="images/1.png")
    assert sorted(_tree("one")) == ["images/1.png"]
    assert bikes.get_path("images/1.png").download() == "artifacts/bikes:v1/images/1.png"
    assert bikes.get_entry("a.txt").download("two") == "two/a.txt"
    assert _tree("two") == {"a.txt": b"a"}
    for path in ("nothing", "images", "a.txt/b"):
        with pytest.raises(PathNotFound):
            bikes.get_path(path)


def test_checkout_makes_a_directory_exactly_the_version(bikes: artfs.Artifact, tmp_path: Path) -> None:
    outside = write_files(tmp_path / "outside", {"kept": "kept"})
    root = write_files(
        tmp_path / "root", {"foreign": "x", "images/foreign/deep": "x", "a.txt/in the way": "x", "large.bin": ""}
    )
    (root / "link").symlink_to(outside)
    (root / "images" / "deep").symlink_to(outside)
    assert bikes.checkout(root) == str(root)
    assert sorted(_tree(root)) == sorted(FILES)
    bikes.verify(root)
    assert _tree(outside) == {"kept": b"kept"}
    assert bikes.checkout() == "artifacts/bikes:v1"
    bikes.verify()


def test_checkout_leaves_what_another_process_is_writing_and_nothing_that_one_left(
    bikes: artfs.Artifact, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    left = write_files(root, {f".artfs-{'0' * 16}.tmp/lock": "", f".artfs-{'0' * 16}.tmp/half": "x"})
    with owned_part(root) as used:
        (used / "half").write_text("x")
        bikes.checkout(left)
        assert {path for path in _tree(root) if path.startswith(".")} == {
            f"{used.name}/lock",
            f"{used.name}/half",
        }
    assert sorted(_tree(root)) == sorted(FILES)


def test_checkout_spares_the_home_directory(
    bikes: artfs.Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = write_files(tmp_path / "home/user", {"precious": "x"})
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "link").symlink_to(home)
    for root in (home, home.parent, tmp_path / "link", Path("/")):
        with pytest.raises(InvalidValue):
            bikes.checkout(root)
    assert _tree(home) == {"precious": b"x"}


def test_verify_names_what_is_missing_changed_and_extra(bikes: artfs.Artifact) -> None:
    root = Path(bikes.download())
    bikes.verify()
    (root / "a.txt").unlink()
    (root / "images/1.png").write_bytes(b"0" * 3000)
    (root / "images/extra").mkdir()
    with pytest.raises(DirectoryDiffers) as raised:
        bikes.verify()
    assert sorted(raised.value.differing) == [
        "a.txt is missing",
        "images/1.png has other content",
        "images/extra is extra",
    ]
    assert all(line in str(raised.value) for line in raised.value.differing)
    with pytest.raises(DirectoryDiffers):
        bikes.verify("nowhere")


def test_a_version_that_has_aliases_is_only_deleted_with_them(bikes: artfs.Artifact) -> None:
    with pytest.raises(StillAliased):
        bikes.delete()
    bikes.delete(delete_aliases=True)
    api = artfs.Api()
    assert [version.version for version in api.artifact_versions("dataset", "bikes")] == ["v0"]
    with pytest.raises(AliasNotFound):
        api.artifact("bikes:best")


def test_no_mount_shows_it_where_nothing_is_mounted(bikes: artfs.Artifact) -> None:
    assert bikes.mount_path() is None


def test_an_object_that_is_not_there_is_none(bikes: artfs.Artifact) -> None:
    assert bikes.get("table") is None


def test_an_api_is_used_by_several_threads(bikes: artfs.Artifact) -> None:
    api = artfs.Api()
    with ThreadPoolExecutor(8) as threads:
        trees = list(
            threads.map(lambda i: _tree(api.artifact("bikes:best").download(f"root{i}")), range(8), timeout=60)
        )
    assert sorted(trees[0]) == sorted(FILES)
    assert all(tree == trees[0] for tree in trees)


def test_a_registry_is_opened_once_and_overridden_by_name(bikes: artfs.Artifact, tmp_path: Path) -> None:
    assert session().client is session().client
    other = artfs.Api(overrides={"registry": str(tmp_path / "other")})
    assert list(other.projects()) == []
    with pytest.raises(InvalidValue):
        artfs.Api(overrides={"team": "x"})


def test_what_is_not_logged_has_no_version() -> None:
    artifact = artfs.Artifact("bikes", "dataset")
    assert (artifact.name, artifact.state, artifact.is_draft()) == ("bikes", "PENDING", True)
    for ask in (lambda: artifact.version, lambda: artifact.download(), lambda: artifact.logged_by(), artifact.delete):
        with pytest.raises(UsageError):
            ask()


_held: artfs.Artifact  # what children find when they are forked


def _read(number: int) -> dict[str, bytes]:
    """In a child."""
    with _held.get_entry("large.bin").open() as file:
        assert file.read() == FILES["large.bin"]
    return _tree(_held.download(f"child{number}"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python 3.12 warns of what is tested here
def test_forked_children_read_what_their_parent_looked_up(bikes: artfs.Artifact) -> None:
    global _held
    _held = bikes
    with bikes.get_entry("large.bin").open() as file:
        assert file.read(5) == FILES["large.bin"][:5]
        with get_context("fork").Pool(4) as pool:
            trees = pool.map_async(_read, range(8)).get(60)
        assert file.read() == FILES["large.bin"][5:]
    assert all(tree == FILES for tree in trees)


def test_a_part_is_not_written_through_links_that_are_there(bikes: artfs.Artifact, tmp_path: Path) -> None:
    outside = write_files(tmp_path / "outside", {"kept": "kept"})
    for name in ("tree", "file", "entry"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "images").symlink_to(outside)
    bikes.download(tmp_path / "tree", path_prefix="images/deep")
    bikes.download(tmp_path / "file", path_prefix="images/1.png")
    bikes.get_entry("images/1.png").download(tmp_path / "entry")
    assert _tree(outside) == {"kept": b"kept"}
    assert [*_tree(tmp_path / "tree")] == ["images/deep/2.png"]
    assert [*_tree(tmp_path / "file")] == [*_tree(tmp_path / "entry")] == ["images/1.png"]


def test_what_is_pickled_holds_no_token_and_works(bikes: artfs.Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    token = os.environ.get("ARTFS_TOKEN") or "secret-of-nobody"
    monkeypatch.setenv("ARTFS_TOKEN", token)
    for found in (artfs.Api().artifact("bikes:best"), artfs.Api().artifact("bikes:best").get_entry("a.txt")):
        pickled = pickle.dumps(found)
        assert token.encode() not in pickled
        assert pickle.loads(pickled).name == found.name
