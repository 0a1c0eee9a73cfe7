"""`put`: what goes in comes out, what cannot is refused before anything is sent, and what fails leaves nothing."""

from __future__ import annotations

import os
import random
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from artfs.client.client import Client
from artfs.client.compare import Difference, verify
from artfs.client.get import Getter
from artfs.client.put import PutProgress, PutResult, plan_put, put
from artfs.client.scan import PROBLEMS_NAMED_MAX
from artfs.client.trees import TreeReader
from artfs.errors import ArtfsError, FileChanged, InvalidName, StorageFailed, TypeMismatch, UnsupportedFile
from artfs.model.tree import EntryKind
from artfs.registry.embedded import EmbeddedRegistry
from artfs.wire.records import NO_ROOT, SealRequest
from tests.integration.privileges import bound_by_permissions

pytestmark = [pytest.mark.falsifies("whole", "refused")]

RND = random.Random(13)
IS_ROOT = os.geteuid() == 0


def _put(client: Client, source: Path, *, xattrs: bool = False) -> PutResult:
    return put(client, "vision", source, SealRequest("bikes", NO_ROOT), xattrs=xattrs)


def _paths(client: Client, result: PutResult) -> list[str]:
    return [found.path for found in TreeReader(client.objects, "vision").walk(result.version.digest)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One of everything that a version holds."""
    root = tmp_path / "source"
    (root / "images/deep/er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "images/1.png").write_bytes(RND.randbytes(3000))
    (root / "images/deep/er/2.png").write_bytes(b"")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o700)
    (root / "large.bin").write_bytes(RND.randbytes(5 << 20))
    (root / "to-image").symlink_to("images/1.png")
    (root / "images/up").symlink_to("../run.sh")
    (root / "dangling").symlink_to("images/nothing")
    (root / "ünïcødé 😀\n").write_text("x")
    return root


def test_everything_that_a_version_holds_comes_out_again(client: Client, source: Path, tmp_path: Path) -> None:
    result = _put(client, source)
    assert _differences(client, result, source) == []
    Getter(client.objects, "vision").get_tree(result.version.digest, tmp_path / "copy")
    assert _differences(client, result, tmp_path / "copy") == []
    assert (result.version.file_count, result.created) == (8, True)


def _differences(client: Client, result: PutResult, root: Path) -> list[Difference]:
    return list(verify(client.objects, "vision", result.version.digest, root))


def test_entries_are_in_the_order_of_their_names_bytes(client: Client, tmp_path: Path) -> None:
    names = ["a", "a.b", "a-b", "B", "é", "z", "\U0001f600", "\uffee", "a0"]
    for name in names:
        (tmp_path / "s" / name).mkdir(parents=True)
    result = _put(client, tmp_path / "s")
    assert _paths(client, result) == sorted(names, key=lambda name: name.encode())


def test_a_second_put_of_the_same_makes_no_version_and_stores_nothing(client: Client, source: Path) -> None:
    first, second = _put(client, source), _put(client, source)
    assert second.version.number == first.version.number
    assert (second.created, second.stored_bytes, second.object_count) == (False, 0, 0)


def test_one_changed_file_stores_itself_and_the_trees_above(client: Client, source: Path) -> None:
    _put(client, source)
    (source / "images/deep/er/2.png").write_bytes(b"changed")
    result = _put(client, source)
    assert result.object_count == 5  # the file, er, deep, images and the root


def test_an_insertion_into_a_large_file_stores_about_a_chunk(client: Client, tmp_path: Path) -> None:
    data = RND.randbytes(40 << 20)
    (tmp_path / "s").mkdir()
    (tmp_path / "s/f").write_bytes(data)
    _put(client, tmp_path / "s")
    middle = len(data) // 2
    (tmp_path / "s/f").write_bytes(data[:middle] + RND.randbytes(1000) + data[middle:])
    assert _put(client, tmp_path / "s").stored_bytes < 4 << 20


def test_a_single_file_is_a_version_of_one_entry(client: Client, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    assert _paths(client, _put(client, tmp_path / "model.pt")) == ["model.pt"]


def test_the_source_itself_may_be_a_symbolic_link(client: Client, source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "file-link").symlink_to(source / "run.sh")
    assert _put(client, tmp_path / "link").version.file_count == 8
    result = _put(client, tmp_path / "file-link")
    assert _paths(client, result) == ["file-link"]
    (found,) = TreeReader(client.objects, "vision").list(result.version.digest)
    assert (found.entry.kind, found.entry.executable) == (EntryKind.FILE, True)


def test_an_empty_directory_is_a_version(client: Client, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    result = _put(client, tmp_path / "s")
    assert (result.version.file_count, result.version.size_bytes, _paths(client, result)) == (0, 0, [])


def _device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            listening.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)


def _setuid(path: Path) -> None:
    path.write_text("")
    path.chmod(0o4755)


def _setgid(path: Path) -> None:
    path.write_text("")
    path.chmod(0o2755)


UNSUPPORTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (os.mkfifo, "FIFO"),
    "socket": (_socket, "socket"),
    "setuid": (_setuid, "setuid"),
    "setgid": (_setgid, "setgid"),
    "absolute": (lambda path: path.symlink_to("/etc/passwd"), "absolute"),
    "escaping": (lambda path: path.symlink_to("../../outside"), "leaves"),
    "sly": (lambda path: path.symlink_to("a/../../../outside"), "leaves"),
    "link-to-no-utf8": (lambda path: os.symlink(b"\xff", path), "UTF-8"),
    "no-utf8": (lambda path: os.mkdir(os.fsencode(path.parent) + b"/no\xffutf8"), "UTF-8"),
    **({"device": (_device, "character device")} if IS_ROOT else {}),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_a_version_cannot_hold_is_refused_and_named(client: Client, source: Path, name: str) -> None:
    make, reason = UNSUPPORTED[name]
    make(source / "images" / name)
    with pytest.raises(UnsupportedFile, match=reason) as caught:
        _put(client, source)
    assert "images" in caught.value.message
    assert client.registry.artifacts.list("vision") == []


def test_a_link_that_leaves_through_others_is_refused_saying_where_it_leads(client: Client, source: Path) -> None:
    (source / "here").symlink_to(".")
    (source / "out").symlink_to("here/../outside")
    (source / "images/up").unlink()
    (source / "images/up").symlink_to("..")
    (source / "far").symlink_to("images/up/../../etc")
    (source / "fine").symlink_to("images/up/images/../run.sh")
    with pytest.raises(UnsupportedFile) as caught:
        _put(client, source)
    assert f"{source}/out is a symbolic link" in caught.value.message
    assert "leads to '../outside'" in caught.value.message
    assert "leads to '../../etc'" in caught.value.message
    assert caught.value.message.count("symbolic link") == 2
    (source / "out").unlink()
    (source / "far").unlink()
    _put(client, source)


def test_all_that_is_unsupported_is_named_up_to_a_bound(client: Client, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for i in range(PROBLEMS_NAMED_MAX + 5):
        os.mkfifo(tmp_path / f"s/fifo{i:02}")
    with pytest.raises(UnsupportedFile) as caught:
        plan_put(tmp_path / "s")
    assert caught.value.message.count("FIFO") == PROBLEMS_NAMED_MAX
    assert "and 5 more" in caught.value.message


def test_a_relative_link_that_stays_inside_is_kept_as_written(client: Client, tmp_path: Path) -> None:
    (tmp_path / "s/a").mkdir(parents=True)
    (tmp_path / "s/a/up").symlink_to("../a/./x")
    result = _put(client, tmp_path / "s")
    assert TreeReader(client.objects, "vision").lookup(result.version.digest, ("a", "up")).entry.target == "../a/./x"


@pytest.mark.parametrize("name", ["images/1.png", "large.bin", "images/deep"])
def test_what_cannot_be_read_is_named(client: Client, source: Path, name: str) -> None:
    (source / name).chmod(0)
    try:
        with bound_by_permissions(), pytest.raises(StorageFailed, match=re.escape(name)):
            _put(client, source)
    finally:
        (source / name).chmod(0o700)
    _assert_nothing_is_left(client)


def test_a_file_that_vanishes_while_it_is_put_is_named_and_nothing_is_put(client: Client, source: Path) -> None:
    (source / "other.bin").write_bytes(RND.randbytes(2 << 20))

    def vanish(progress: PutProgress) -> None:
        if progress.size_bytes > 4 << 20:  # within large.bin
            (source / "other.bin").unlink(missing_ok=True)

    with pytest.raises(FileChanged, match=r"other\.bin vanished"):
        put(client, "vision", source, SealRequest("bikes", NO_ROOT), report=vanish)
    _assert_nothing_is_left(client)


def _assert_nothing_is_left(client: Client) -> None:
    assert isinstance(client.registry, EmbeddedRegistry)
    assert client.registry.artifacts.list("vision") == []
    assert list(client.registry.layout.packs.glob("*/*/*.pack")) == []
    assert list(client.registry.spool.iterdir()) == []


def test_an_interrupt_leaves_nothing_half_done(client: Client, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for i in range(3):
        (tmp_path / f"s/{i}").write_bytes(RND.randbytes(40 << 20))

    def interrupt(progress: PutProgress) -> None:
        if progress.size_bytes > 90 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put(client, "vision", tmp_path / "s", SealRequest("bikes", NO_ROOT), report=interrupt)
    _assert_nothing_is_left(client)


def test_a_wrong_type_is_refused_before_anything_is_read(client: Client, source: Path) -> None:
    put(client, "vision", source, SealRequest("bikes", NO_ROOT, type="dataset"))
    reports: list[PutProgress] = []
    with pytest.raises(TypeMismatch):
        put(client, "vision", source, SealRequest("bikes", NO_ROOT, type="model"), report=reports.append)
    assert reports == []


@pytest.mark.parametrize(
    ("project", "artifact", "alias"), [("no/slash", "bikes", "best"), ("vision", ".x", "best"), ("vision", "b", "v7")]
)
def test_a_wrong_name_is_refused_before_anything_is_read(
    client: Client, tmp_path: Path, project: str, artifact: str, alias: str
) -> None:
    with pytest.raises(InvalidName):
        put(client, project, tmp_path / "not looked at", SealRequest(artifact, NO_ROOT, aliases=[alias]))


def test_a_source_that_does_not_exist_is_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ArtfsError, match="nothing"):
        _put(client, tmp_path / "nothing")


def test_progress_grows_to_the_totals_that_were_known_from_the_start(client: Client, source: Path) -> None:
    reports: list[PutProgress] = []
    put(client, "vision", source, SealRequest("bikes", NO_ROOT), report=reports.append)
    assert {(r.total_files, r.total_bytes) for r in reports} == {(8, (5 << 20) + 3000 + 10 + 1)}
    assert [r.size_bytes for r in reports] == sorted(r.size_bytes for r in reports)
    last = reports[-1]
    assert (last.files, last.size_bytes) == (last.total_files, last.total_bytes)


def test_user_attributes_are_kept_when_asked_for(client: Client, source: Path) -> None:
    os.setxattr(source / "run.sh", "user.origin", b"lab")
    os.setxattr(source / "images", "user.label", b"\0\xff")
    os.setxattr(source / "run.sh", "user.artfs.sha256", b"not ours to keep")
    plain, kept = _put(client, source), _put(client, source, xattrs=True)
    trees = TreeReader(client.objects, "vision")
    assert trees.lookup(plain.version.digest, ("run.sh",)).entry.xattrs == {}
    assert trees.lookup(kept.version.digest, ("run.sh",)).entry.xattrs == {"origin": b"lab"}
    assert trees.lookup(kept.version.digest, ("images",)).entry.xattrs == {"label": b"\0\xff"}


def test_description_metadata_aliases_and_creator_are_those_of_the_request(client: Client, source: Path) -> None:
    request = SealRequest(
        "bikes", NO_ROOT, aliases=["best"], type="dataset", description="d", metadata={"k": [1]}, created_by="me"
    )
    version = put(client, "vision", source, request).version
    assert (version.type, version.description, version.metadata, version.created_by) == (
        "dataset",
        "d",
        {"k": [1]},
        "me",
    )
    assert sorted(version.aliases) == ["best", "latest"]


def test_a_tree_deeper_than_the_interpreters_recursion_goes_in(client: Client, tmp_path: Path) -> None:
    path = str(tmp_path)
    for _ in range(1200):
        path += "/d"
        os.mkdir(path)
    result = _put(client, tmp_path / "d")
    assert len(_paths(client, result)) == 1199
    while path != str(tmp_path):
        os.rmdir(path)
        path = path.removesuffix("/d")


@pytest.mark.parametrize("count", [5_000])
def test_a_large_directory_is_paged_and_editing_it_stores_a_page(client: Client, tmp_path: Path, count: int) -> None:
    (tmp_path / "s").mkdir()
    for i in range(count):
        (tmp_path / f"s/{i:05}").write_text(str(i))
    assert _put(client, tmp_path / "s").version.file_count == count
    (tmp_path / "s/02500").write_text("changed")
    assert _put(client, tmp_path / "s").object_count == 3  # the file, its page and the index
