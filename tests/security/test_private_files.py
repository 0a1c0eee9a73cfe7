"""Other users of the machine find nothing of ours open to them, whatever the umask, and nothing of theirs is followed."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from artfs.client.references.seen import SeenBlocks
from artfs.config import set_in_file
from artfs.fuse.mount_records import MountRecord, MountRecords
from artfs.store.durable import make_private, write_private
from tests.acceptance.user import User
from tests.reliability.trials import tried
from tests.security.control_socket import mode_at_bind

pytestmark = [pytest.mark.falsifies("access")]

OTHERS = 0o077


@contextmanager
def open_to_all() -> Iterator[None]:
    """As in many containers, and where somebody wrote `umask 0`."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def open_to_others(root: Path) -> list[str]:
    """What below `root` others could read, write or enter, links aside."""
    found = []
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & OTHERS:
            found.append(f"{path} {stat.filemode(status.st_mode)}")
        tried("files and directories that others might enter")
    return found


@pytest.mark.fuse
@pytest.mark.serial
def test_nothing_that_commands_and_a_mount_make_is_open_to_others(tmp_path: Path) -> None:
    """The home is all there is: whatever is in it besides the source was made by artfs."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "secret.txt").write_text("secret")
    user = User(tmp_path / "home")
    user.home.mkdir(mode=0o700)
    with open_to_all():
        user.run("put", "-n", "vision/bikes", source)
        with user.mounted("m") as mounted:
            assert (mounted / "vision/bikes/v0/secret.txt").read_text() == "secret"
            user.run("stage", "vision/bikes:v0", "next")
            (mounted / "vision/bikes/.staging/next/more.txt").write_text("more")
            sockets = [path for path in user.home.rglob("*.sock") if path.is_socket()]
            assert len(sockets) == 1
            assert stat.S_IMODE(sockets[0].stat().st_mode) == 0o600
            found = open_to_others_beside(user.home, mounted)
    assert found == []


def open_to_others_beside(home: Path, mounted: Path) -> list[str]:
    """As `open_to_others`, without entering the mount, whose modes are those of what it shows."""
    return [one for top in sorted(home.iterdir()) if top != mounted for one in open_to_others(top)]


def test_every_level_of_a_private_directory_is_private(tmp_path: Path) -> None:
    with open_to_all():
        make_private(tmp_path / "a/b/c")
        write_private(tmp_path / "a/d/file", b"x")
        MountRecords(tmp_path / "a/state", tmp_path / "a/run").write(
            MountRecord(os.getpid(), 0, "/m", "", 0, False, False, "", "")
        )
        seen = SeenBlocks(tmp_path / "a/cache/references.db")
        seen.settle(b"x" * 16, "an etag")
        seen.close()
    assert (tmp_path / "a/cache/references.db").exists()
    assert open_to_others(tmp_path / "a") == []


def test_a_directory_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o750)
    make_private(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o750
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "file")


def test_a_configuration_with_a_password_is_not_opened_by_changing_another_setting(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('database = "postgresql://artfs:secret@db/artfs"\n')
    path.chmod(0o600)
    with open_to_all():
        set_in_file(path, "ca_file", "/etc/ca.pem")
    assert "secret" in path.read_text()
    assert open_to_others(path) == []


@pytest.mark.parametrize("planted", ["file", "link"])
def test_what_others_planted_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path, planted: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place = tmp_path / "place"
    place.symlink_to(victim) if planted == "link" else os.link(victim, place)
    write_private(place, b"ours")
    assert (victim.read_text(), place.read_bytes(), place.is_symlink()) == ("precious", b"ours", False)


def test_a_socket_is_private_before_anybody_can_connect(tmp_path: Path) -> None:
    """Bound under a umask, not closed afterwards: there is no moment in between."""
    with open_to_all():
        assert mode_at_bind(tmp_path / "control.sock") == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_can_neither_ask_a_mount_nor_look_into_the_home() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        home = Path(place) / "home"
        with open_to_all():
            make_private(home / ".local/state/artfs/run")
        with closing(socket.socket(socket.AF_UNIX)) as listening:
            listening.bind(str(home / ".local/state/artfs/run/x.sock"))
            listening.listen()
            for what in ("home", "home/.local", "home/.local/state/artfs/run/x.sock"):
                done = subprocess.run(
                    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", f"{place}/{what}"],
                    capture_output=True,
                    timeout=30,
                )
                assert done.returncode != 0, what
                tried("looks of another user")
