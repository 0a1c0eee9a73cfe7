"""What ordinary programs see in a mounted version, and what they cannot do to it."""

from __future__ import annotations

import errno
import mmap
import os
import random
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest

from tests.mount.mounting import Machine, Mount
from tests.mount.trees import LARGE, TREE, run, write_tree

pytestmark = [pytest.mark.falsifies("read-only", "one-version", "times")]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """One mount for the tests that only look: `vision/bikes` with TREE as v0, and one file changed as v1."""
    directory = tmp_path_factory.mktemp("machine")
    machine = Machine(directory, directory / "registry")
    machine.put("vision/bikes", TREE, "best")
    machine.put("vision/bikes", {**TREE, "readme.txt": b"changed\n"})
    with machine.mount() as mount:
        yield mount


@pytest.fixture
def version(shared: Mount) -> Path:
    return shared / "vision/bikes/v0"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("original") / "tree", TREE)


def test_diff_and_rsync_find_no_difference(shared: Mount, original: Path) -> None:
    for name in ("best", "v0"):
        run("diff", "-r", "--no-dereference", original, shared / "vision/bikes" / name)
    assert run("rsync", "-nrlc", "--delete", "-i", f"{original}/", f"{shared.path}/vision/bikes/best/") == ""


def test_copies_made_by_cp_and_tar_are_identical(version: Path, original: Path, tmp_path: Path) -> None:
    run("cp", "-a", version, tmp_path / "copy")
    run("diff", "-r", "--no-dereference", original, tmp_path / "copy")
    run("tar", "cf", tmp_path / "archive.tar", "-C", version, ".")
    (tmp_path / "unpacked").mkdir()
    run("tar", "xf", tmp_path / "archive.tar", "-C", tmp_path / "unpacked")
    run("diff", "-r", "--no-dereference", original, tmp_path / "unpacked")


def test_find_descends_everywhere(version: Path, original: Path) -> None:
    found = run("find", version, "-printf", "%P %y\n").splitlines()
    assert sorted(found) == sorted(run("find", original, "-printf", "%P %y\n").splitlines())


def test_a_listing_has_dot_and_dot_dot_with_their_inodes(version: Path) -> None:
    lines = [line.split() for line in run("ls", "-lai", version / "sub").splitlines()[1:]]
    inodes = {line[9]: int(line[0]) for line in lines}
    assert inodes["."] == (version / "sub").stat().st_ino
    assert inodes[".."] == version.stat().st_ino
    assert len(inodes) == 602


def test_a_listing_can_be_gone_back_into(version: Path) -> None:
    """seekdir: rsync and NFS servers rely on it."""
    fd = os.open(version / "sub", os.O_RDONLY)
    try:
        first = os.listdir(fd)
        os.lseek(fd, 0, os.SEEK_SET)
        assert os.listdir(fd) == first
    finally:
        os.close(fd)


def test_owner_modes_and_times_are_the_versions_own(version: Path) -> None:
    root, file, link = version.stat(), (version / "readme.txt").stat(), (version / "link").lstat()
    assert [stat.filemode(s.st_mode) for s in (root, file, link)] == ["dr-xr-xr-x", "-r--r--r--", "lrwxrwxrwx"]
    assert {(s.st_uid, s.st_gid) for s in (root, file, link)} == {(os.getuid(), os.getgid())}
    assert file.st_mtime_ns == file.st_atime_ns == file.st_ctime_ns
    assert abs(file.st_mtime - time.time()) < 600
    assert (version / "large.bin").stat().st_blocks == -(-len(LARGE) // 512)


def test_unchanged_files_keep_inode_and_mtime_and_directories_never_share_an_inode(shared: Mount) -> None:
    bikes = shared / "vision/bikes"
    for name in ("sub/0300.dat", "large.bin", "deep/er/and/deeper"):
        seen = {((bikes / v / name).stat().st_ino, (bikes / v / name).stat().st_mtime_ns) for v in ("v0", "v1", "best")}
        assert len(seen) == 1
    assert (bikes / "v0/readme.txt").stat().st_ino != (bikes / "v1/readme.txt").stat().st_ino
    assert len({(bikes / v / "sub").stat().st_ino for v in ("v0", "v1", "best", "latest")}) == 4


def test_any_range_of_a_large_file_reads_right(version: Path) -> None:
    choose = random.Random(7)
    fd = os.open(version / "large.bin", os.O_RDONLY)
    try:
        for _ in range(200):
            offset, length = choose.randrange(len(LARGE) + 5000), choose.choice((1, 17, 4096, 300_000, 3 << 20))
            assert os.pread(fd, length, offset) == LARGE[offset : offset + length]
    finally:
        os.close(fd)


def test_mmap_and_numpy_memmap_read_right(version: Path) -> None:
    with open(version / "large.bin", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[5_000_000:5_000_100] == LARGE[5_000_000:5_000_100]
        assert mapped.find(LARGE[-64:]) == len(LARGE) - 64
    mapped_array = numpy.memmap(version / "large.bin", dtype=numpy.uint8, mode="r")
    assert int(mapped_array.sum(dtype=numpy.int64)) == sum(LARGE)


def test_symbolic_links_are_followed(version: Path) -> None:
    assert os.readlink(version / "link") == "readme.txt"
    assert (version / "link").read_bytes() == b"hello\n"
    assert not (version / "dangling").exists()


def test_names_that_do_not_exist_or_are_not_utf_8_are_told_apart(version: Path) -> None:
    with pytest.raises(FileNotFoundError):
        (version / "sub" / "no such").stat()
    with pytest.raises(OSError, match="Invalid or incomplete multibyte") as caught:
        os.stat(os.fsencode(version) + b"/\xff\xfe")
    assert caught.value.errno == errno.EILSEQ


def test_df_and_du_show_something_sensible(version: Path) -> None:
    assert os.statvfs(version).f_blocks > 0
    shown_kib = int(run("du", "-s", version).split()[0])
    assert len(LARGE) // 1024 < shown_kib < 3 * len(LARGE) // 1024


MUTATIONS: dict[str, Callable[[Path], object]] = {
    "open for writing": lambda v: os.open(v / "readme.txt", os.O_WRONLY),
    "open for both": lambda v: os.open(v / "readme.txt", os.O_RDWR),
    "truncate at open": lambda v: os.open(v / "readme.txt", os.O_RDONLY | os.O_TRUNC),
    "append": lambda v: os.open(v / "readme.txt", os.O_WRONLY | os.O_APPEND),
    "truncate": lambda v: os.truncate(v / "readme.txt", 0),
    "create": lambda v: os.open(v / "new", os.O_CREAT | os.O_WRONLY),
    "create in a subdirectory": lambda v: os.open(v / "sub/new", os.O_CREAT | os.O_EXCL | os.O_RDWR),
    "make a directory": lambda v: os.mkdir(v / "new"),
    "make a node": lambda v: os.mknod(v / "new"),
    "make a FIFO": lambda v: os.mkfifo(v / "new"),
    "symlink": lambda v: os.symlink("x", v / "new"),
    "link": lambda v: os.link(v / "readme.txt", v / "new"),
    "unlink": lambda v: os.unlink(v / "readme.txt"),
    "unlink a symlink": lambda v: os.unlink(v / "link"),
    "rmdir": lambda v: os.rmdir(v / "nothing"),
    "rename a file": lambda v: os.rename(v / "readme.txt", v / "new"),
    "rename a directory": lambda v: os.rename(v / "sub", v / "new"),
    "rename out": lambda v: os.rename(v / "sub", v.parent / "new"),
    "chmod": lambda v: os.chmod(v / "readme.txt", 0o777),
    "chmod a directory": lambda v: os.chmod(v / "sub", 0o777),
    "chmod the root": lambda v: os.chmod(v, 0o777),
    "chown": lambda v: os.chown(v / "readme.txt", 1, 1),
    "utimes": lambda v: os.utime(v / "readme.txt"),
    "utimes of the root": lambda v: os.utime(v, (1, 1)),
    "utimes of a symlink": lambda v: os.utime(v / "link", (1, 1), follow_symlinks=False),
    "setxattr": lambda v: os.setxattr(v / "readme.txt", "user.x", b"1"),
    "setxattr of a directory": lambda v: os.setxattr(v / "sub", "user.x", b"1"),
    "setxattr of the root": lambda v: os.setxattr(v, "user.x", b"1"),
    "removexattr": lambda v: os.removexattr(v / "readme.txt", "user.artfs.sha256"),
}


@pytest.mark.parametrize("name", ["v0", "best"])
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_nobody_changes_a_version_not_even_root(shared: Mount, name: str, mutation: str) -> None:
    expected = errno.EROFS if os.getuid() == 0 else {errno.EROFS, errno.EACCES}
    with pytest.raises(OSError, match=r"Read-only|denied") as caught:
        MUTATIONS[mutation](shared / "vision/bikes" / name)
    assert caught.value.errno in ({expected} if isinstance(expected, int) else expected)
    assert (shared / "vision/bikes" / name / "readme.txt").read_bytes() == b"hello\n"


def test_a_file_tells_its_digest(version: Path) -> None:
    for name in ("readme.txt", "large.bin", "empty"):
        digest = run("sha256sum", version / name).split()[0].removeprefix("\\")
        assert os.getxattr(version / name, "user.artfs.sha256").decode() == digest
        assert os.listxattr(version / name) == []


def test_a_version_tells_what_it_is(shared: Mount) -> None:
    best = shared / "vision/bikes/best"
    assert os.listxattr(best) == []  # or `cp -a` would give a draft the aliases of what it copies
    names = ("aliases", "created_by", "description", "digest", "metadata", "state", "type", "version")
    told = {f"user.artfs.{name}": os.getxattr(best, f"user.artfs.{name}").decode() for name in names}
    assert told["user.artfs.version"] == "v0"
    assert told["user.artfs.aliases"] == "best"
    assert told["user.artfs.type"] == "dataset"
    assert told["user.artfs.state"] == "sealed"
    assert told["user.artfs.metadata"] == "{}"
    assert told["user.artfs.digest"].startswith("sha256:")
    with pytest.raises(OSError, match="No data available"):
        os.getxattr(best, "user.artfs.nothing")


def test_reading_everything_leaves_no_error_in_the_log(shared: Mount, tmp_path: Path) -> None:
    shutil.copytree(shared / "vision/bikes/v1", tmp_path / "copy", symlinks=True)
    assert (tmp_path / "copy/readme.txt").read_bytes() == b"changed\n"
    assert shared.status()["last_errors"] == []
    assert " ERROR " not in shared.log.read_text()
