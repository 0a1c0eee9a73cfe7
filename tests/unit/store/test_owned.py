"""Directories that go with their process: what is in use stays, what is left goes, whoever makes and removes them at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from artfs.errors import StorageFailed
from artfs.store.owned import OwnedPart, owned_part, remove_unowned_in

pytestmark = [pytest.mark.falsifies("bounded")]

PROCESS_S = 60
ROUNDS = 150
OWNING = """
import sys
from pathlib import Path
from artfs.store.owned import OwnedPart
part = OwnedPart(Path(sys.argv[1]))
(part.path / "file").write_bytes(b"x")
print(part.path, flush=True)
sys.stdin.read()
"""
MAKING = f"""
import sys
from pathlib import Path
from artfs.store.owned import owned_part
for number in range({ROUNDS}):
    with owned_part(Path(sys.argv[1])) as place:
        (place / "file").write_bytes(b"x")
        (place / "file").rename(place / "renamed")
        assert (place / "renamed").read_bytes() == b"x"
"""
REMOVING = f"""
import sys
from pathlib import Path
from artfs.store.owned import remove_unowned_in
for _ in range({ROUNDS * 5}):
    remove_unowned_in(Path(sys.argv[1]))
"""
STEPS = 5  # by which one comes to be: opened three times and locked, and one more
MEETING = f"""
import sys
from pathlib import Path
from artfs.store.owned import owned_part, remove_unowned_in
place, at, seen = Path(sys.argv[1]), int(sys.argv[2]), 0

def before(event, args):
    global seen
    if event in ("open", "fcntl.flock"):
        seen += 1
        if seen == at:
            remove_unowned_in(place)

sys.addaudithook(before)
with owned_part(place) as part:
    (part / "file").write_bytes(b"x")
    assert part.is_dir()
    remove_unowned_in(place)
    assert (part / "file").exists()
assert seen > {STEPS}, seen
"""


def start(program: str, place: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(place), *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def owned_elsewhere(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A directory of another process."""
    with start(OWNING, place) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_directory_goes_with_its_process_and_not_before(tmp_path: Path) -> None:
    with owned_elsewhere(tmp_path) as (process, path):
        remove_unowned_in(tmp_path)
        assert (path / "file").read_bytes() == b"x"
        process.send_signal(signal.SIGKILL)
        process.wait(PROCESS_S)
        assert path.exists()
        remove_unowned_in(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_stopped_owns_its_directory(tmp_path: Path) -> None:
    with owned_elsewhere(tmp_path) as (process, path):
        process.send_signal(signal.SIGSTOP)
        remove_unowned_in(tmp_path)
        assert (path / "file").exists()


def test_what_only_has_such_a_name_stays(tmp_path: Path) -> None:
    (tmp_path / f".artfs-{'0' * 16}.tmp").mkdir()  # made, and no more
    held = tmp_path / f".artfs-{'1' * 16}.tmp"
    held.mkdir()
    (held / "of-somebody").write_text("x")
    (tmp_path / f".artfs-{'2' * 16}.tmp").write_text("a file")
    (tmp_path / f".artfs-{'3' * 16}.tmp").symlink_to(held)
    (tmp_path / "other").mkdir()
    remove_unowned_in(tmp_path)
    assert sorted(path.name[7:8] for path in tmp_path.iterdir()) == ["", "1", "2", "3"]
    assert (held / "of-somebody").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to another user")
def test_what_another_user_left_stays(tmp_path: Path) -> None:
    with owned_elsewhere(tmp_path) as (process, path):
        os.chown(path, 12345, 12345)
        process.kill()
        process.wait(PROCESS_S)
    remove_unowned_in(tmp_path)
    assert (path / "file").exists()


def test_many_at_once_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    running = [start(program, tmp_path) for program in (MAKING, REMOVING, MAKING, REMOVING)]
    for process in running:
        _, complaints = process.communicate(timeout=PROCESS_S)
        assert process.returncode == 0, complaints
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", range(1, STEPS + 1))
def test_who_tidies_up_while_one_is_made_takes_nothing_that_is_used(tmp_path: Path, at: int) -> None:
    process = start(MEETING, tmp_path, str(at))
    _, complaints = process.communicate(timeout=PROCESS_S)
    assert process.returncode == 0, complaints
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_ends_leaves_nothing(tmp_path: Path) -> None:
    with owned_part(tmp_path) as place:
        (place / "file").write_text("x")
    part = OwnedPart(tmp_path)
    part.remove()
    part.remove()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageFailed):
        OwnedPart(tmp_path / "nowhere")
