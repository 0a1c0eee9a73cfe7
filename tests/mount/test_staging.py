"""Staging through the kernel: the programs that people use, what they rely on, and commits by rename."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import socket
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.mount.mounting import Machine, Mount
from tests.mount.trees import LARGE, TREE, run, write_tree

pytestmark = [pytest.mark.falsifies("posix", "draft-kept")]


@pytest.fixture
def mount(machine: Machine) -> Iterator[Mount]:
    machine.put("p/a", TREE, "best")
    with machine.mount() as mount:
        yield mount


@pytest.fixture
def draft(mount: Mount) -> Path:
    path = mount / "p/a/.staging/next"
    path.mkdir()
    return path


def errno_of(call: object, *arguments: object) -> int:
    assert callable(call)
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the errno is what the test looks at)
        call(*arguments)
    return caught.value.errno or 0


def test_a_copied_directory_becomes_a_version_by_mv(mount: Mount, draft: Path, tmp_path: Path) -> None:
    source = write_tree(tmp_path / "source", TREE)
    run("cp", "-a", f"{source}/.", draft)
    run("diff", "-r", "--no-dereference", source, draft)
    run("mv", draft, mount / "p/a/copied")
    run("diff", "-r", "--no-dereference", source, mount / "p/a/copied")
    assert not draft.exists()
    assert os.listdir(mount / "p/a/.staging") == []


def test_a_second_mount_sees_what_was_committed(
    mount: Mount, draft: Path, other_machine: Machine, tmp_path: Path
) -> None:
    (draft / "f").write_bytes(b"new")
    run("mv", "-T", draft, mount / "p/a/best")
    with other_machine.mount() as other:
        assert (other / "p/a/best/f").read_bytes() == b"new"
        assert (other / "p/a/v0/readme.txt").read_bytes() == b"hello\n"


def test_mv_t_and_os_replace_re_point_an_alias(mount: Mount, draft: Path) -> None:
    (draft / "f").write_bytes(b"1")
    run("mv", "-T", draft, mount / "p/a/best")
    assert (mount / "p/a/best/f").read_bytes() == b"1"
    draft.mkdir()
    (draft / "f").write_bytes(b"2")
    os.replace(draft, mount / "p/a/best")
    assert (mount / "p/a/best/f").read_bytes() == b"2"
    assert (mount / "p/a/v1/f").read_bytes() == b"1"


def test_a_draft_linked_from_a_version_shares_content_and_is_copied_when_written(mount: Mount, draft: Path) -> None:
    run("cp", "-al", str(mount / "p/a/v0") + "/.", draft)
    run("diff", "-r", "--no-dereference", mount / "p/a/v0", draft)
    with open(draft / "large.bin", "r+b") as file:
        file.seek(5)
        file.write(b"changed")
    with open(draft / "readme.txt", "a") as text:
        text.write("more\n")
    (draft / "sub/0007.dat").unlink()
    os.replace(draft / "sub/0001.dat", draft / "sub/0002.dat")
    run("mv", draft, mount / "p/a/linked")
    linked = mount / "p/a/linked"
    assert (linked / "large.bin").read_bytes() == LARGE[:5] + b"changed" + LARGE[12:]
    assert (linked / "readme.txt").read_text() == "hello\nmore\n"
    assert len(os.listdir(linked / "sub")) == 598
    assert (mount / "p/a/v0/large.bin").read_bytes() == LARGE
    assert (mount / "p/a/v0/readme.txt").read_text() == "hello\n"


def test_rsync_and_tar_write_into_a_draft(mount: Mount, draft: Path, tmp_path: Path) -> None:
    source = write_tree(tmp_path / "source", TREE)
    (draft / "r").mkdir()
    (draft / "t").mkdir()
    run("rsync", "-a", f"{source}/", f"{draft}/r/")
    assert run("rsync", "-anic", f"{source}/", f"{draft}/r/") == ""
    with tarfile.open(tmp_path / "source.tar", "w") as tar:
        tar.add(source, ".")
    run("tar", "xf", tmp_path / "source.tar", "-C", draft / "t")
    run("diff", "-r", "--no-dereference", source, draft / "t")
    (source / "readme.txt").write_text("HELLO\n")
    run("rsync", "-a", "--inplace", f"{source}/", f"{draft}/r/")
    run("mv", draft, mount / "p/a/synced")
    run("diff", "-r", "--no-dereference", source, mount / "p/a/synced/r")


def test_git_works_in_a_draft_and_in_its_version(mount: Mount, draft: Path) -> None:
    git = ("git", "-C", draft, "-c", "user.name=n", "-c", "user.email=e@x", "-c", "safe.directory=*")
    run(*git, "init", "-q")
    for number in range(20):
        (draft / f"f{number}").write_text(str(number))
    run(*git, "add", ".")
    run(*git, "commit", "-qm", "one")
    (draft / "f3").write_text("changed")
    run(*git, "commit", "-qam", "two")
    run(*git, "gc", "-q")
    run(*git, "fsck", "--strict")
    run("mv", draft, mount / "p/a/repository")
    committed = ("git", "-C", mount / "p/a/repository", "-c", "safe.directory=*")
    assert run(*committed, "log", "--format=%s").split() == ["two", "one"]


def test_sqlite_keeps_a_database_in_a_draft(draft: Path) -> None:
    for mode in ("delete", "wal"):
        database = sqlite3.connect(draft / f"{mode}.db")
        try:
            assert database.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0] == mode
            database.execute("CREATE TABLE t (x)")
            for number in range(50):
                with database:
                    database.execute("INSERT INTO t VALUES (?)", (number,))
            assert database.execute("SELECT sum(x) FROM t").fetchone()[0] == sum(range(50))
            assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        finally:
            database.close()


def test_shared_mappings_write_through(mount: Mount, draft: Path) -> None:
    (draft / "m").write_bytes(bytes(1 << 20))
    with open(draft / "m", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[5:10] = b"hello"
        view[-3:] = b"end"
        view.flush()
    data = (draft / "m").read_bytes()
    assert (data[5:10], data[-3:], len(data)) == (b"hello", b"end", 1 << 20)
    run("mv", draft, mount / "p/a/mapped")
    assert (mount / "p/a/mapped/m").read_bytes() == data


def test_locks_exclude_other_processes(draft: Path) -> None:
    path = draft / "lock"
    path.touch()
    attempt = (
        "import fcntl, sys\nf = open(sys.argv[1], 'r+')\n"
        "try: fcntl.{0}(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept BlockingIOError: sys.exit(7)\n"
    )
    for lock in (fcntl.flock, fcntl.lockf):
        with open(path, "r+b") as file:
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            script = attempt.format(lock.__name__)
            assert subprocess.run([sys.executable, "-c", script, path], timeout=30, check=False).returncode == 7
        assert subprocess.run([sys.executable, "-c", script, path], timeout=30, check=False).returncode == 0


def test_appends_from_many_processes_are_not_lost(draft: Path) -> None:
    script = "import os, sys\nf = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)\n"
    script += "for _ in range(200): os.write(f, sys.argv[2].encode() * 10)\n"
    writers = [subprocess.Popen([sys.executable, "-c", script, draft / "log", letter]) for letter in "abcd"]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 4
    data = (draft / "log").read_bytes()
    assert sorted({data[i : i + 10] for i in range(0, len(data), 10)}) == [letter.encode() * 10 for letter in "abcd"]
    assert len(data) == 4 * 200 * 10


def test_an_unlinked_file_lives_until_it_is_closed(draft: Path) -> None:
    with open(draft / "f", "w+b") as file:
        file.write(b"data")
        file.flush()
        os.unlink(draft / "f")
        assert os.fstat(file.fileno()).st_nlink == 0
        file.seek(0)
        assert file.read() == b"data"
        file.write(b" more")
        file.flush()
        assert os.fstat(file.fileno()).st_size == 9
    assert os.listdir(draft) == []


def test_hard_links_are_one_file(draft: Path) -> None:
    (draft / "a").write_bytes(b"x")
    os.link(draft / "a", draft / "b")
    (draft / "b").write_bytes(b"longer")
    assert (draft / "a").read_bytes() == b"longer"
    assert os.stat(draft / "a").st_ino == os.stat(draft / "b").st_ino
    assert os.stat(draft / "a").st_nlink == 2
    os.unlink(draft / "a")
    assert os.stat(draft / "b").st_nlink == 1


def test_what_a_version_cannot_hold_is_refused_at_once(mount: Mount, draft: Path) -> None:
    assert errno_of(os.mkfifo, draft / "fifo") == errno.EPERM
    assert errno_of(os.mknod, draft / "device", 0o020644, os.makedev(1, 3)) == errno.EPERM
    with socket.socket(socket.AF_UNIX) as server, pytest.raises(PermissionError):
        server.bind(str(Path(os.path.relpath(draft / "s"))))
    (draft / "f").touch()
    assert errno_of(os.chmod, draft / "f", 0o4755) == errno.EPERM
    assert errno_of(os.chmod, draft, 0o2755) == errno.EPERM
    for name in ("trusted.x", "security.x", "user.artfs.x"):
        assert errno_of(os.setxattr, draft / "f", name, b"v") == errno.ENOTSUP, name
    assert errno_of(os.mkdir, os.fsencode(draft) + b"/\xff") == errno.EILSEQ
    assert errno_of(os.link, mount / "p/a/v0/sub", draft / "sub") == errno.EPERM


def test_attributes_are_kept_in_the_version(mount: Mount, draft: Path) -> None:
    (draft / "f").write_bytes(b"x")
    (draft / "d").mkdir()
    os.setxattr(draft / "f", "user.label", b"cat")
    os.setxattr(draft / "d", "user.label", b"dir")
    assert os.listxattr(draft / "f") == ["user.label"]
    os.setxattr(draft, "user.artfs.description", b"about cats")
    os.setxattr(draft, "user.artfs.metadata", b'{"count": 1}')
    os.setxattr(draft, "user.artfs.aliases", b"one,two")
    assert errno_of(os.setxattr, draft, "user.artfs.metadata", b"[1") == errno.EINVAL
    os.setxattr(draft, "user.artfs.ttl", b"30d")
    assert os.getxattr(draft, "user.artfs.ttl") == b"30d"
    assert errno_of(os.setxattr, draft, "user.artfs.ttl", b"soon") == errno.EINVAL
    run("mv", draft, mount / "p/a/labelled")
    committed = mount / "p/a/two"
    assert os.getxattr(committed / "f", "user.label") == b"cat"
    assert os.getxattr(committed / "d", "user.label") == b"dir"
    assert os.getxattr(committed, "user.artfs.description") == b"about cats"
    assert os.getxattr(committed, "user.artfs.metadata") == b'{"count":1}'
    expires = datetime.fromisoformat(os.getxattr(committed, "user.artfs.expires_at").decode())
    assert timedelta(days=29, hours=23) < expires - datetime.now(UTC) < timedelta(days=30)
    os.setxattr(committed, "user.artfs.ttl", b"never")
    assert os.getxattr(committed, "user.artfs.expires_at") == b"never"
    os.setxattr(committed, "user.artfs.ttl", b"12h")
    os.removexattr(committed, "user.artfs.ttl")
    assert os.getxattr(committed, "user.artfs.expires_at") == b"never"
    assert errno_of(os.setxattr, committed, "user.artfs.expires_at", b"never") == errno.EPERM


def test_a_commit_that_fails_says_why_and_loses_nothing(mount: Mount, draft: Path) -> None:
    (draft / "d").mkdir()
    (draft / "d/out").symlink_to("../../elsewhere")
    (draft / "abs").symlink_to("/etc/passwd")
    (draft / "f").write_bytes(b"kept")
    assert errno_of(os.rename, draft, mount / "p/a/bad") == errno.EINVAL
    reason = os.getxattr(draft, "user.artfs.error").decode()
    assert "d/out" in reason
    assert "abs" in reason
    assert "d/out" in str(mount.status())
    assert sorted(os.listdir(draft)) == ["abs", "d", "f"]
    os.unlink(draft / "abs")
    os.unlink(draft / "d/out")
    os.rename(draft, mount / "p/a/good")
    assert (mount / "p/a/good/f").read_bytes() == b"kept"


def test_a_file_open_for_writing_makes_the_commit_busy(mount: Mount, draft: Path) -> None:
    with open(draft / "open-file", "wb") as file:
        file.write(b"x")
        assert errno_of(os.rename, draft, mount / "p/a/busy") == errno.EBUSY
        assert "open-file" in os.getxattr(draft, "user.artfs.error").decode()
    os.rename(draft, mount / "p/a/busy")
    assert (mount / "p/a/busy/open-file").read_bytes() == b"x"


def test_readers_of_a_committed_draft_keep_reading(mount: Mount, draft: Path) -> None:
    (draft / "f").write_bytes(b"still here")
    with open(draft / "f", "rb") as file:
        os.rename(draft, mount / "p/a/read")
        assert file.read() == b"still here"


def test_names_and_drafts_are_checked_as_a_file_system_does(mount: Mount, draft: Path) -> None:
    staging = mount / "p/a/.staging"
    assert errno_of(os.mkdir, draft) == errno.EEXIST
    assert errno_of(os.mkdir, staging / ".hidden") == errno.EINVAL
    assert errno_of((staging / "file").write_bytes, b"") in (errno.EPERM, errno.EACCES)
    (staging / "other").mkdir()
    (draft / "f").write_bytes(b"x")
    assert errno_of(os.rename, draft / "f", staging / "other/f") == errno.EXDEV
    assert errno_of(os.link, draft / "f", staging / "other/f") == errno.EXDEV
    run("mv", draft / "f", staging / "other/f")
    assert errno_of(os.rmdir, staging / "other") == errno.ENOTEMPTY
    run("rm", "-r", staging / "other")
    os.rename(draft, staging / "renamed")
    assert sorted(os.listdir(staging)) == ["renamed"]
    assert errno_of(os.mkdir, draft / "x") == errno.ENOENT
    os.rmdir(staging / "renamed")


def test_what_returned_survives_the_death_of_the_mount(machine: Machine, mount: Mount, draft: Path) -> None:
    write_tree(draft / "tree", TREE)
    handle = os.open(draft / "synced", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(handle, b"synced")
    os.fsync(handle)
    os.rename(draft / "tree/readme.txt", draft / "tree/renamed")
    mount.kill()
    os.close(handle)
    with machine.mount() as again:
        found = again / "p/a/.staging/next"
        assert (found / "synced").read_bytes() == b"synced"
        assert (found / "tree/renamed").read_bytes() == b"hello\n"
        run("diff", "-r", "--no-dereference", again / "p/a/v0/sub", found / "tree/sub")
        os.rename(found, again / "p/a/recovered")
        run("diff", "-r", "--no-dereference", again / "p/a/v0/sub", again / "p/a/recovered/tree/sub")


def test_a_draft_of_another_mount_is_listed_and_busy(machine: Machine, mount: Mount, draft: Path) -> None:
    (draft / "f").touch()
    with machine.mount("second") as second:
        assert os.listdir(second / "p/a/.staging") == ["next"]
        assert errno_of(os.listdir, second / "p/a/.staging/next") == errno.EBUSY
        assert errno_of((second / "p/a/.staging/next/f").touch) == errno.EBUSY


def test_a_virtual_environment_can_be_made_in_a_draft(draft: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", "--copies", draft / "env")
    assert run(draft / "env/bin/python", "-c", "print(6 * 7)").strip() == "42"


def test_holes_stay_holes(draft: Path) -> None:
    with open(draft / "sparse", "wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"x")
    found = os.stat(draft / "sparse")
    assert (found.st_size, found.st_blocks < 100) == (1 << 40, True)
