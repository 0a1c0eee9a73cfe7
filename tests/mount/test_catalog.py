"""Projects, artifacts, aliases and versions as directories, and how changes made elsewhere are seen."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from artfs.wire.service import Registry
from tests.mount.mounting import Machine, wait_until
from tests.mount.trees import run

pytestmark = [pytest.mark.falsifies("one-version", "seen-soon", "read-only"), pytest.mark.serial]

SEEN_S = 2.0


def move(machine: Machine, alias: str, number: int) -> None:
    with machine.registry() as registry:
        registry.aliases.move("vision", "bikes", alias, number)


def two_versions(machine: Machine) -> None:
    machine.put("vision/bikes", {"number": b"0", "sub": {"same": b"s", "number": b"0"}}, "best")
    machine.put("vision/bikes", {"number": b"1", "sub": {"same": b"s", "number": b"1"}})


def wait_for_content(path: Path, content: bytes) -> float:
    """Wait until a file reads as `content`; the seconds that took."""

    def reads_so() -> bool:
        try:
            return path.read_bytes() == content
        except FileNotFoundError:
            return False

    return wait_until(reads_so, f"{path.name} reads {content!r}", SEEN_S)


def test_the_catalog_is_directories(machine: Machine) -> None:
    two_versions(machine)
    machine.put("audio/birds", {})
    with machine.mount() as mount:
        assert sorted(os.listdir(mount.path)) == ["audio", "vision"]
        assert os.listdir(mount / "vision") == ["bikes"]
        assert {"best", "latest", "v0", "v1"} <= set(os.listdir(mount / "vision/bikes"))
        assert os.listdir(mount / "audio/birds/latest") == []
        assert oct((mount / "vision/bikes").stat().st_mode) == "0o40755"


def test_projects_and_artifacts_are_made_and_removed(machine: Machine) -> None:
    with machine.mount() as mount:
        (mount / "vision/bikes").mkdir(parents=True)
        with machine.registry() as registry:
            assert [a.name for a in registry.artifacts.list("vision")] == ["bikes"]
        with pytest.raises(FileExistsError):
            (mount / "vision").mkdir()
        with pytest.raises(OSError, match="not empty"):
            (mount / "vision").rmdir()
        (mount / "vision/bikes").rmdir()
        (mount / "vision").rmdir()
        assert os.listdir(mount.path) == []


@pytest.mark.parametrize("name", ["-dash", ".dot", "with blank", "ü", "x" * 129])
def test_names_that_break_the_rule_are_invalid(machine: Machine, name: str) -> None:
    with machine.mount() as mount:
        with pytest.raises(OSError, match="Invalid argument") as caught:
            (mount / name).mkdir()
        assert caught.value.errno == errno.EINVAL


def test_what_the_catalog_cannot_do_is_not_permitted(machine: Machine) -> None:
    two_versions(machine)
    with machine.mount() as mount:
        bikes = mount / "vision/bikes"
        attempts: list[Callable[[], object]] = [
            lambda: (bikes / "new").mkdir(),
            lambda: (bikes / "v0").rmdir(),
            lambda: (bikes / "file").touch(),
            lambda: (mount / "file").touch(),
            lambda: os.symlink("x", mount / "vision/link"),
            lambda: os.rename(bikes / "v0", bikes / "other"),
            lambda: os.rename(mount / "vision", mount / "other"),
            lambda: os.chmod(bikes, 0o700),
        ]
        for refused in attempts:
            with pytest.raises(PermissionError) as caught:
                refused()
            assert caught.value.errno == errno.EPERM


def test_removing_an_artifact_with_versions_is_refused(machine: Machine) -> None:
    two_versions(machine)
    with machine.mount() as mount:
        with pytest.raises(OSError, match="not empty") as caught:
            (mount / "vision/bikes").rmdir()
        assert caught.value.errno == errno.ENOTEMPTY


def test_rmdir_of_an_alias_removes_the_alias_alone(machine: Machine) -> None:
    two_versions(machine)
    with machine.mount() as mount:
        (mount / "vision/bikes/best").rmdir()
        assert not (mount / "vision/bikes/best").exists()
        assert (mount / "vision/bikes/v0/number").read_bytes() == b"0"


def test_an_alias_can_be_renamed(machine: Machine) -> None:
    two_versions(machine)
    with machine.mount() as mount:
        bikes = mount / "vision/bikes"
        os.rename(bikes / "best", bikes / "good")
        assert (bikes / "good/number").read_bytes() == b"0"
        assert not (bikes / "best").exists()
        with machine.registry() as registry:
            assert registry.aliases.list("vision", "bikes") == {"good": 0, "latest": 1}


def test_a_moved_alias_is_seen_by_a_second_mount(machine: Machine, other_machine: Machine) -> None:
    two_versions(machine)
    with machine.mount() as here, other_machine.mount() as there:
        files = [mount / "vision/bikes/best/number" for mount in (here, there)]
        for number in (1, 0, 1):
            assert all(file.read_bytes() == str(1 - number).encode() for file in files)
            move(machine, "best", number)
            for file in files:
                assert wait_for_content(file, b"%d" % number) < SEEN_S


def test_a_new_version_project_and_alias_are_seen_by_a_mount(machine: Machine) -> None:
    two_versions(machine)
    with machine.mount() as mount:
        assert sorted(os.listdir(mount.path)) == ["vision"]
        assert (mount / "vision/bikes/latest/number").read_bytes() == b"1"
        machine.put("vision/bikes", {"number": b"2"}, "newest")
        machine.put("audio/birds", {"song": b"tweet"})
        for path, content in (
            ("vision/bikes/v2/number", b"2"),
            ("vision/bikes/newest/number", b"2"),
            ("vision/bikes/latest/number", b"2"),
            ("audio/birds/latest/song", b"tweet"),
        ):
            wait_for_content(mount / path, content)


def test_an_open_directory_keeps_its_version_when_the_alias_moves(machine: Machine) -> None:
    two_versions(machine)
    with machine.mount() as mount:
        fd = os.open(mount / "vision/bikes/best", os.O_RDONLY | os.O_DIRECTORY)
        try:
            move(machine, "best", 1)
            wait_for_content(mount / "vision/bikes/best/number", b"1")
            for name in ("number", "sub/number"):
                file = os.open(name, os.O_RDONLY, dir_fd=fd)
                assert os.read(file, 10) == b"0"
                os.close(file)
        finally:
            os.close(fd)


def test_through_an_alias_no_walk_mixes_versions(machine: Machine, other_machine: Machine) -> None:
    """A reader opens the alias and reads two files through it, again and again, while it is moved."""
    two_versions(machine)
    stop, seen = threading.Event(), set()

    def read(path: Path) -> None:
        while not stop.is_set():
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                pair = []
                for name in ("number", "sub/number"):
                    file = os.open(name, os.O_RDONLY, dir_fd=fd)
                    pair.append(os.read(file, 10))
                    os.close(file)
                seen.add(tuple(pair))
            finally:
                os.close(fd)

    with other_machine.mount() as mount:
        reader = threading.Thread(target=read, args=(mount / "vision/bikes/best",))
        reader.start()
        try:
            with machine.registry() as registry:
                for number in (1, 0) * 4:
                    registry.aliases.move("vision", "bikes", "best", number)
                    wait_for_content(mount / "vision/bikes/best/number", b"%d" % number)
        finally:
            stop.set()
            reader.join(10)
    assert seen == {(b"0", b"0"), (b"1", b"1")}


def test_a_pinned_mount_keeps_the_meaning_of_aliases(machine: Machine) -> None:
    two_versions(machine)
    with machine.mount("pinned", pin=True) as pinned, machine.mount("plain") as plain:
        move(machine, "best", 1)
        machine.put("vision/bikes", {"number": b"2"})
        wait_for_content(plain / "vision/bikes/latest/number", b"2")
        assert (pinned / "vision/bikes/best/number").read_bytes() == b"0"
        assert (pinned / "vision/bikes/latest/number").read_bytes() == b"1"
        assert sorted(set(os.listdir(pinned / "vision/bikes")) - {".staging"}) == ["best", "latest", "v0", "v1", "v2"]


def test_a_read_only_mount_changes_nothing(machine: Machine) -> None:
    two_versions(machine)
    with machine.mount(read_only=True) as mount:
        bikes = mount / "vision/bikes"
        attempts: list[Callable[[], object]] = [
            lambda: (mount / "new").mkdir(),
            lambda: (bikes / "best").rmdir(),
            lambda: os.rename(bikes / "best", bikes / "good"),
            lambda: os.setxattr(bikes / "best", "user.artfs.description", b"x"),
        ]
        for refused in attempts:
            with pytest.raises(OSError, match="Read-only") as caught:
                refused()
            assert caught.value.errno == errno.EROFS
        assert (bikes / "best/number").read_bytes() == b"0"


def test_a_deleted_version_disappears_and_what_is_left_stays_readable(machine: Machine) -> None:
    machine.put("vision/bikes", {"gone": b"only in v0", "kept": b"k", "sub": {"kept": b"k2"}})
    machine.put("vision/bikes", {"kept": b"k", "sub": {"kept": b"k2"}})
    with machine.mount() as mount:
        bikes = mount / "vision/bikes"
        run("find", bikes / "v0")
        run("diff", "-r", bikes / "v0/sub", bikes / "v1/sub")
        with machine.registry() as registry:
            registry.versions.delete("vision", "bikes", [0])
        wait_until(lambda: not (bikes / "v0").exists(), "the version is gone", SEEN_S)
        assert (bikes / "v1/kept").read_bytes() == b"k"
        assert (bikes / "v1/sub/kept").read_bytes() == b"k2"
        run("ls", "-lR", bikes / "v1")


def test_an_open_file_of_a_deleted_version_is_stale_not_wrong(machine: Machine) -> None:
    machine.put("vision/bikes", {"gone": b"g" * 100, "sub": {"gone": b"h" * 100}})
    machine.put("vision/bikes", {"kept": b"k"})
    with machine.mount() as mount:
        fd = os.open(mount / "vision/bikes/v0", os.O_RDONLY | os.O_DIRECTORY)
        file = os.open("gone", os.O_RDONLY, dir_fd=fd)
        try:
            with machine.registry() as registry:
                registry.versions.delete("vision", "bikes", [0])
            with pytest.raises(OSError, match="Stale"):
                os.read(file, 10)
            with pytest.raises(OSError, match="Stale") as caught:
                os.stat("sub/gone", dir_fd=fd)
            assert caught.value.errno == errno.ESTALE
        finally:
            os.close(file)
            os.close(fd)


def record_of(registry: Registry) -> tuple[str, dict[str, object], str]:
    record = registry.versions.resolve("vision", "bikes", "v0")
    return record.description, record.metadata, record.type


def test_description_metadata_and_aliases_are_set_as_attributes(machine: Machine) -> None:
    two_versions(machine)
    with machine.mount() as mount:
        best = mount / "vision/bikes/best"
        run("setfattr", "-n", "user.artfs.description", "-v", "Räder", best)
        run("setfattr", "-n", "user.artfs.metadata", "-v", '{"classes": 3}', best)
        with machine.registry() as registry:
            assert record_of(registry) == ("Räder", {"classes": 3}, "dataset")
        assert json.loads(os.getxattr(mount / "vision/bikes/v0", "user.artfs.metadata")) == {"classes": 3}
        run("setfattr", "-x", "user.artfs.description", best)
        assert os.getxattr(best, "user.artfs.description") == b""
        os.setxattr(mount / "vision/bikes/v1", "user.artfs.aliases", b"fresh, newest\nprod")
        with machine.registry() as registry:
            aliases = registry.aliases.list("vision", "bikes")
        assert aliases == {"best": 0, "fresh": 1, "latest": 1, "newest": 1, "prod": 1}
        os.setxattr(mount / "vision/bikes/v1", "user.artfs.aliases", b"prod")
        with machine.registry() as registry:
            assert registry.aliases.list("vision", "bikes") == {"best": 0, "latest": 1, "prod": 1}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("user.artfs.metadata", b"[1]", errno.EINVAL),
        ("user.artfs.metadata", b"{", errno.EINVAL),
        ("user.artfs.description", b"\xff", errno.EINVAL),
        ("user.artfs.aliases", b"v7", errno.EINVAL),
        ("user.artfs.type", b"model", errno.EINVAL),
        ("user.artfs.version", b"v7", errno.EPERM),
        ("user.artfs.digest", b"x", errno.EPERM),
        ("user.other", b"x", errno.EROFS),
        ("trusted.x", b"x", errno.ENOTSUP),
    ],
)
def test_attributes_that_cannot_be_set_say_why(machine: Machine, name: str, value: bytes, code: int) -> None:
    two_versions(machine)
    with machine.mount() as mount, pytest.raises(OSError, match=os.strerror(code)) as caught:
        os.setxattr(mount / "vision/bikes/v0", name, value)
    assert caught.value.errno == code
