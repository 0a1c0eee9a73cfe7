"""What another user of the machine sees of a mount: nothing, or with `allow_other` what is in versions, and no more."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.cache.object_cache import ObjectCache
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from tests.mount.mounting import Machine
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("access", "read-only"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
]

AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def machine() -> Iterator[Machine]:
    """In a place that everybody can enter."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        yield Machine(Path(place), Path(place) / "registry")


def as_nobody(*command: str | Path) -> int:
    """The exit code of a command of another user."""
    done = subprocess.run([*AS_NOBODY, *map(str, command)], capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    tried("calls of another user")
    return done.returncode


def test_a_mount_is_for_its_user(machine: Machine) -> None:
    machine.put("vision/bikes", {"f": b"content"})
    with machine.mount() as mount:
        for what in ("", "vision", "vision/bikes/v0/f"):
            assert as_nobody("ls", mount / what) != 0, what
        assert as_nobody("cat", mount / "vision/bikes/v0/f") != 0


def test_with_allow_other_others_read_versions_and_change_nothing(machine: Machine) -> None:
    machine.put("vision/bikes", {"f": b"content", "d": {"g": b"more"}})
    with machine.mount(allow_other=True) as mount:
        artifact, version = mount / "vision/bikes", mount / "vision/bikes/v0"
        draft = artifact / ".staging/next"
        draft.mkdir(mode=0o700)
        (draft / "mine").write_text("not yet")
        assert as_nobody("cat", version / "f") == 0
        assert as_nobody("ls", version / "d") == 0
        denied: list[tuple[str | Path, ...]] = [
            ("touch", version / "new"),
            ("sh", "-c", f"echo x > '{version}/f'"),
            ("rm", "-rf", version / "d"),
            ("chmod", "777", version),
            ("setfattr", "-n", "user.artfs.description", "-v", "x", version),
            ("mkdir", mount / "project"),
            ("mkdir", mount / "vision/other"),
            ("mkdir", artifact / ".staging/theirs"),
            ("rmdir", artifact / "latest"),
            ("mv", "-T", draft, artifact / "best"),
            ("cat", draft / "mine"),
            ("touch", draft / "theirs"),
            ("ln", version / "f", artifact / ".staging/next/f"),
            ("ls", machine.directory / "run"),
            ("ls", machine.directory / "state"),
            ("ls", machine.registry_dir),
        ]
        for command in denied:
            assert as_nobody(*command) != 0, command
        assert sorted(os.listdir(artifact)) == [".staging", "latest", "v0"] or sorted(os.listdir(artifact)) == [
            "latest",
            "v0",
        ]
        assert (draft / "mine").read_text() == "not yet"
        assert (version / "f").read_bytes() == b"content"
        assert os.getxattr(version, "user.artfs.description") == b""


def test_a_draft_that_is_open_to_all_is_still_committed_by_its_owner_only(machine: Machine) -> None:
    """As a umask of 0 makes it: others may then write into it, as on any disk; but to commit is to change the artifact."""
    machine.put("vision/bikes", {"f": b"content"})
    with machine.mount(allow_other=True) as mount:
        artifact = mount / "vision/bikes"
        draft = artifact / ".staging/next"
        draft.mkdir()
        draft.chmod(0o777)
        assert as_nobody("touch", draft / "theirs") == 0
        assert as_nobody("mv", "-T", draft, artifact / "best") != 0
        assert not (artifact / "best").exists()
        assert os.stat(draft / "theirs").st_uid == 65534


@pytest.mark.parametrize("name", [".", "v1", "v1/segments", "v1/pins"])
def test_a_cache_that_belongs_to_another_user_is_not_used(tmp_path: Path, name: str) -> None:
    root, key = tmp_path / "cache", ObjectKey(ObjectKind.CHUNK, Digest.of(b"content"))
    for owner, found in ((os.geteuid(), {key: b"content"}), (65534, {})):
        with ObjectCache(root, 4 << 20) as cache:
            cache.put("p", {key: b"content"})
            assert cache.get("p", [key]) == found
            assert owner == (root / name).stat().st_uid
        os.chown(root / name, 65534, -1)
