"""docs/semantics.md, row by row and example by example, through a real mount."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.user import User, wait_until
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("read-only", "posix", "times", "refused", "one-version", "seen-soon"),
    pytest.mark.fuse,
    pytest.mark.serial,
]


@pytest.fixture
def artifact(user: User, tmp_path: Path) -> Iterator[Path]:
    """`vision/bikes` in a mount, with v0 (aliases latest and best) and v1 (latest)."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "kept").write_text("kept")
    (source / "sub/changed").write_text("before")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("sub/changed")
    user.run("put", "-n", "vision/bikes", "-t", "dataset", source, "--alias", "best")
    (source / "sub/changed").write_text("after")
    user.run("put", "-n", "vision/bikes", source)
    with user.mounted() as root:
        yield root / "vision/bikes"


def errno_of(call: Callable[[], object]) -> str:
    """The name of the errno that `call` fails with."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "OK"


def test_the_directories_are_as_shown(artifact: Path) -> None:
    assert sorted(os.listdir(artifact)) == [".staging", "best", "latest", "v0", "v1"]
    assert sorted(os.listdir(artifact / "best")) == ["empty", "kept", "link", "run.sh", "sub"]
    assert (artifact / "best/sub/changed").read_text() == "before"
    assert (artifact / "latest/sub/changed").read_text() == "after"


def test_mkdir_creates_projects_and_artifacts_and_nothing_else(artifact: Path) -> None:
    root = artifact.parent.parent
    (root / "new").mkdir()
    (root / "new/thing").mkdir()
    assert errno_of((root / "new/thing/x").mkdir) == "EPERM"
    for name in (".hidden", "-dash", "a b", "a:b", "x" * 129, "ü"):
        assert errno_of((root / name).mkdir) == "EINVAL", name
    assert errno_of(lambda: os.mkdir(os.fsencode(root) + b"/\xff")) == "EILSEQ"
    assert errno_of((root / "new").rmdir) == "ENOTEMPTY"
    (root / "new/thing").rmdir()
    (root / "new").rmdir()
    assert errno_of(artifact.rmdir) == "ENOTEMPTY"


def test_rmdir_removes_an_alias_but_never_a_version(artifact: Path) -> None:
    (artifact / "best").rmdir()
    assert sorted(os.listdir(artifact)) == [".staging", "latest", "v0", "v1"]
    assert errno_of((artifact / "v0").rmdir) == "EPERM"
    assert (artifact / "v0/kept").read_text() == "kept"


def changes_of(place: Path) -> list[Callable[[], object]]:
    """Every sort of call that would change the version at `place`."""
    kept = place / "kept"
    return [
        lambda: os.open(kept, os.O_WRONLY),
        lambda: os.open(kept, os.O_RDONLY | os.O_TRUNC),
        lambda: os.open(place / "new", os.O_CREAT | os.O_WRONLY),
        lambda: os.truncate(kept, 0),
        kept.unlink,
        (place / "empty").rmdir,
        (place / "new").mkdir,
        lambda: kept.rename(place / "other"),
        lambda: (place / "new").symlink_to("kept"),
        lambda: os.link(kept, place / "hard"),
        lambda: kept.chmod(0o777),
        lambda: os.chown(kept, 1, 1),
        lambda: os.utime(kept),
        lambda: os.setxattr(kept, "user.x", b"1"),
        lambda: os.mkfifo(place / "pipe"),
    ]


@pytest.mark.parametrize("version", ["v0", "best"])
def test_a_version_is_read_only_for_root_too(artifact: Path, version: str) -> None:
    changes = changes_of(artifact / version)
    assert {errno_of(change) for change in changes} == {"EROFS"}
    tried("a call that would change a version", len(changes))


def test_modes_owner_and_times_are_as_promised(artifact: Path) -> None:
    old, new = artifact / "v0", artifact / "v1"
    assert stat.S_IMODE((old / "kept").stat().st_mode) == 0o444
    assert stat.S_IMODE((old / "run.sh").stat().st_mode) == 0o555
    assert stat.S_IMODE((old / "sub").stat().st_mode) == 0o555
    assert (old / "kept").stat().st_uid == os.getuid()
    assert (old / "kept").stat().st_mtime_ns == (new / "kept").stat().st_mtime_ns
    assert (old / "sub/changed").stat().st_mtime_ns < (new / "sub/changed").stat().st_mtime_ns
    status = (old / "kept").stat()
    assert status.st_mtime_ns == status.st_ctime_ns == status.st_atime_ns


def test_the_same_file_has_one_inode_and_directories_have_their_own(artifact: Path) -> None:
    names = ("v0", "v1", "best", "latest")
    assert len({(artifact / name / "kept").stat().st_ino for name in names}) == 1
    assert len({(artifact / name / "empty").stat().st_ino for name in names}) == 4
    assert (artifact / "v0/sub/changed").stat().st_ino != (artifact / "v1/sub/changed").stat().st_ino


def test_an_open_directory_keeps_its_version_when_the_alias_moves(artifact: Path, user: User) -> None:
    opened = os.open(artifact / "best", os.O_RDONLY | os.O_DIRECTORY)
    try:
        user.run("alias", "vision/bikes:v1", "best")
        wait_until(lambda: (artifact / "best/sub/changed").read_text() == "after", "the alias is seen moved", 2)
        file = os.open("sub/changed", os.O_RDONLY, dir_fd=opened)
        assert os.read(file, 100) == b"before"
        os.close(file)
    finally:
        os.close(opened)


def test_a_pinned_mount_keeps_what_aliases_meant(artifact: Path, user: User) -> None:
    with user.mounted("pinned", "--pin") as pinned:
        user.run("alias", "vision/bikes:v1", "best")
        wait_until(lambda: (artifact / "best/sub/changed").read_text() == "after", "the alias is seen moved", 2)
        assert (pinned / "vision/bikes/best/sub/changed").read_text() == "before"


def test_a_deleted_version_disappears(artifact: Path, user: User) -> None:
    assert (artifact / "v0/kept").read_text() == "kept"
    user.run("rm", "--delete-aliases", "vision/bikes:v0")
    wait_until(lambda: not (artifact / "v0").exists(), "v0 is gone", 2)
    assert sorted(os.listdir(artifact)) == [".staging", "latest", "v1"]
    assert (artifact / "v1/kept").read_text() == "kept"


def test_the_example_of_staging_and_commit(artifact: Path, user: User) -> None:
    (artifact / ".staging/next").mkdir()
    subprocess.run(["cp", "-r", f"{artifact}/v1/.", artifact / ".staging/next/"], check=True, timeout=60)
    (artifact / ".staging/next/more").write_text("more")
    subprocess.run(["mv", artifact / ".staging/next", artifact / "good"], check=True, timeout=60)
    assert (artifact / "good/more").read_text() == (artifact / "latest/more").read_text() == "more"
    (artifact / ".staging/v1").mkdir()
    subprocess.run(["cp", "-al", f"{artifact}/v0/.", f"{artifact}/.staging/v1/"], check=True, timeout=60)
    (artifact / ".staging/v1/sub/changed").write_text("copied up")
    assert (artifact / "v0/sub/changed").read_text() == "before"
    subprocess.run(["mv", "-T", artifact / ".staging/v1", artifact / "good"], check=True, timeout=60)
    assert (artifact / "good/sub/changed").read_text() == "copied up"
    user.run("stage", "vision/bikes:v0", "fix")
    (artifact / ".staging/fix/kept").unlink()
    subprocess.run(["mv", "-T", artifact / ".staging/fix", artifact / "best"], check=True, timeout=60)
    assert not (artifact / "best/kept").exists()
    assert sorted(os.listdir(artifact)) == [".staging", "best", "good", "latest", "v0", "v1", "v2", "v3", "v4"]


def test_staging_refuses_at_the_call_what_a_version_cannot_hold(artifact: Path) -> None:
    draft = artifact / ".staging/x"
    draft.mkdir()
    (draft / "file").write_text("x")
    assert errno_of(lambda: os.mkfifo(draft / "pipe")) == "EPERM"
    assert errno_of(lambda: os.mknod(draft / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))) == "EPERM"
    with socket.socket(socket.AF_UNIX) as unix:
        opened = os.open(draft, os.O_PATH)
        assert errno_of(lambda: unix.bind(f"/proc/self/fd/{opened}/s")) == "EPERM"
        os.close(opened)
    assert errno_of(lambda: (draft / "file").chmod(0o4755)) == "EPERM"
    assert errno_of(lambda: os.setxattr(draft / "file", "trusted.x", b"1")) == "ENOTSUP"
    assert errno_of(lambda: os.setxattr(draft / "file", "system.posix_acl_access", b"1")) in ("ENOTSUP", "EINVAL")
    assert errno_of(lambda: os.mkdir(os.fsencode(draft) + b"/\xff")) == "EILSEQ"


def test_the_errnos_of_a_rename_that_cannot_commit(artifact: Path, user: User) -> None:
    root = artifact.parent.parent
    draft = artifact / ".staging/x"
    draft.mkdir()
    with (draft / "file").open("w") as file:
        file.write("open")
        file.flush()
        assert errno_of(lambda: draft.rename(artifact / "best")) == "EBUSY"
        assert b"file" in os.getxattr(draft, "user.artfs.error")
    assert errno_of(lambda: draft.rename(artifact / "v9")) == "EINVAL"
    assert errno_of(lambda: draft.rename(artifact / ".x")) == "EINVAL"
    (root / "other").mkdir()
    (root / "other/a").mkdir()
    assert errno_of(lambda: draft.rename(root / "other/a/best")) == "EXDEV"
    moved = subprocess.run(["mv", "-nT", draft, artifact / "best"], capture_output=True, timeout=60)
    assert (artifact / "best/kept").exists(), moved
    (draft / "escape").symlink_to("../../etc/passwd")
    assert errno_of(lambda: draft.rename(artifact / "best")) == "EINVAL"
    assert b"escape" in os.getxattr(draft, "user.artfs.error")
    (status,) = user.json("status")["mounts"]
    (shown,) = status["filesystem"]["staging"]["drafts"]
    assert "escape" in shown["error"]
    (draft / "escape").unlink()
    (draft / "a").symlink_to(".")
    (draft / "b").symlink_to("a/../x")
    assert errno_of(lambda: draft.rename(artifact / "best")) == "EINVAL"
    assert b"b -> a/../x (which leads to ../x" in os.getxattr(draft, "user.artfs.error")
    (draft / "b").unlink()
    (draft / "gone").symlink_to("a/nothing/../x")
    (draft / "round").symlink_to("round")
    draft.rename(artifact / "best")
    assert (artifact / "best/gone").is_symlink()
    assert (artifact / "best/round").is_symlink()
    assert (artifact / "best/file").read_text() == "open"


def test_a_read_only_mount_refuses_everything(artifact: Path, user: User) -> None:
    with user.mounted("frozen", "--read-only") as frozen:
        assert errno_of((frozen / "new").mkdir) == "EROFS"
        assert errno_of((frozen / "vision/bikes/.staging/x").mkdir) in ("EROFS", "ENOENT")
        assert errno_of((frozen / "vision/bikes/best").rmdir) == "EROFS"
        assert (frozen / "vision/bikes/best/kept").read_text() == "kept"


def test_a_draft_belongs_to_one_mount(artifact: Path, user: User) -> None:
    draft = artifact / ".staging/mine"
    draft.mkdir()
    (draft / "file").write_text("x")
    with user.mounted("second") as second:
        other = second / "vision/bikes/.staging"
        assert os.listdir(other) == ["mine"]
        assert errno_of(lambda: (other / "mine/file").read_text()) == "EBUSY"
        assert errno_of(lambda: (other / "mine").rename(second / "vision/bikes/best")) == "EBUSY"
    assert (draft / "file").read_text() == "x"


def test_drafts_survive_unmounting(artifact: Path, user: User) -> None:
    root = artifact.parent.parent
    (artifact / ".staging/later/sub").mkdir(parents=True)
    (artifact / ".staging/later/sub/file").write_text("still here")
    user.run("umount", root)
    user.run("mount", root)
    assert (artifact / ".staging/later/sub/file").read_text() == "still here"
    (artifact / ".staging/later").rename(artifact / "best")
    assert (artifact / "best/sub/file").read_text() == "still here"


def test_between_two_drafts_mv_copies(artifact: Path) -> None:
    for name in ("a", "b"):
        (artifact / ".staging" / name).mkdir()
    (artifact / ".staging/a/file").write_text("x")
    assert errno_of(lambda: os.rename(artifact / ".staging/a/file", artifact / ".staging/b/file")) == "EXDEV"
    subprocess.run(["mv", artifact / ".staging/a/file", artifact / ".staging/b/file"], check=True, timeout=30)
    assert (artifact / ".staging/b/file").read_text() == "x"


def test_extended_attributes_tell_and_set(artifact: Path, user: User) -> None:
    def get(path: Path, name: str) -> str:
        return os.getxattr(path, f"user.artfs.{name}").decode()

    assert get(artifact / "v0/kept", "sha256") == hashlib.sha256(b"kept").hexdigest()
    assert get(artifact / "best", "version") == "v0"
    assert get(artifact / "best", "type") == "dataset"
    assert get(artifact / "v0", "aliases").split(",") == ["best"]
    os.setxattr(artifact / "best", "user.artfs.description", b"the best so far")
    os.setxattr(artifact / "v0", "user.artfs.metadata", b'{"val_acc": 0.93}')
    os.setxattr(artifact / "v0", "user.artfs.aliases", b"prod,good")
    (_, version) = user.json("log", "vision/bikes")
    assert version["description"] == "the best so far"
    assert version["metadata"] == {"val_acc": 0.93}
    assert version["aliases"] == ["good", "prod"]
    assert errno_of(lambda: os.setxattr(artifact / "v0", "user.artfs.metadata", b"[1]")) == "EINVAL"
    assert errno_of(lambda: os.setxattr(artifact / "v0", "user.artfs.digest", b"x")) in ("EPERM", "EROFS")
    draft = artifact / ".staging/x"
    draft.mkdir()
    os.setxattr(draft, "user.artfs.description", b"from a draft")
    os.setxattr(draft, "user.artfs.metadata", b'{"n": 1}')
    os.setxattr(draft, "user.artfs.aliases", b"candidate")
    (draft / "f").write_text("f")
    draft.rename(artifact / "new")
    version = user.json("log", "vision/bikes")[0]
    assert version["description"] == "from a draft"
    assert version["metadata"] == json.loads('{"n": 1}')
    assert sorted(version["aliases"]) == ["candidate", "latest", "new"]


def test_user_attributes_and_links_stay_with_the_version(artifact: Path) -> None:
    draft = artifact / ".staging/x"
    draft.mkdir()
    (draft / "file").write_text("x")
    os.setxattr(draft / "file", "user.label", b"cat")
    os.link(draft / "file", draft / "same")
    (draft / "link").symlink_to("file")
    (draft / "none").mkdir()
    (draft / "file").chmod(0o755)
    draft.rename(artifact / "new")
    new = artifact / "new"
    assert os.getxattr(new / "file", "user.label") == b"cat"
    assert (new / "same").read_text() == "x"
    assert os.readlink(new / "link") == "file"
    assert (new / "none").is_dir()
    assert stat.S_IMODE((new / "file").stat().st_mode) == 0o555


def test_an_alias_moved_in_another_process_is_seen_soon(artifact: Path, user: User) -> None:
    changed = artifact / "best/sub/changed"
    for number, text in ((1, "after"), (0, "before"), (1, "after"), (0, "before")):
        user.run("alias", f"vision/bikes:v{number}", "best")
        deadline = time.monotonic() + 2
        while changed.read_text() != text:
            assert time.monotonic() < deadline, "the alias was not seen moved within 2 s"
            time.sleep(0.02)
