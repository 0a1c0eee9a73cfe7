"""A mount whose server is behind a network that breaks, or that lies: no wrong byte, no hang, and no remount afterwards."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.team import Member, Team
from tests.acceptance.user import wait_until
from tests.bench.cold_small_files import make_files, read_through_artfs
from tests.network.proxy import Proxy

pytestmark = [pytest.mark.falsifies("no-hang"), pytest.mark.fuse, pytest.mark.serial]

FAILS_S = 60.0  # within which a read of what is out of reach must fail
RECOVERS_S = 30.0
OUT_OF_REACH = {errno.EHOSTUNREACH}
FILES = 60


@dataclass(frozen=True)
class Scene:
    """A mount through a proxy, and the files that it shows."""

    mount: Path
    source: Path
    proxy: Proxy

    def error(self, name: str) -> int:
        """The errno that reading a file ends with, 0 if it was read and is right; wrong content fails the test."""
        begin = time.monotonic()
        try:
            data = (self.mount / "vision/bikes/latest" / name).read_bytes()
        except OSError as error:
            return error.errno or -1
        finally:
            assert time.monotonic() - begin < FAILS_S
        assert data == (self.source / name).read_bytes()
        return 0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    source = tmp_path / "source"
    source.mkdir()
    choose = random.Random(1)
    for number in range(FILES):
        (source / f"f{number:02}").write_bytes(choose.randbytes(8000))
    for number in range(3):
        (source / f"large{number}").write_bytes(choose.randbytes(3 << 20))
    team = Team(tmp_path, {})
    with team.serving() as server, Proxy.to(server.url) as proxy:
        ann = team.user("ann", server.url)
        ann.run("put", "-n", "vision/bikes", source)
        reader = team.at_home("ann", server.url, home="reader", login=False)
        reader.run("login", proxy.url, "--token-file", team.token("ann", "read"))
        far = Member(reader.home, {"ARTFS_REGISTRY": proxy.url})
        with far.mounted() as mount:
            yield Scene(mount, source, proxy)


FAULTS: dict[str, Callable[[Proxy], None]] = {
    "a black hole": lambda proxy: proxy.stall(),
    "resets": lambda proxy: proxy.reset(),
    "a gateway's error pages": lambda proxy: proxy.answer(502),
    "a gateway that answers pages with 200": lambda proxy: proxy.answer(200),
    "answers cut short": lambda proxy: proxy.cut(40),
    "a stopped host": lambda proxy: proxy.pause(),
}


QUICK = {"a gateway's error pages"}


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=() if fault in QUICK else pytest.mark.deep) for fault in FAULTS]
)
def test_what_is_cached_is_read_the_rest_fails_in_time_and_all_comes_back(scene: Scene, fault: str) -> None:
    assert scene.error("f00") == scene.error("large0") == 0
    FAULTS[fault](scene.proxy)
    try:
        assert scene.error("f00") == scene.error("large0") == 0
        assert scene.error("large1") in OUT_OF_REACH
        begin = time.monotonic()
        assert scene.error("large2") in OUT_OF_REACH
        assert time.monotonic() - begin < FAILS_S / 2  # it is known by now
    finally:
        scene.proxy.resume()
        scene.proxy.heal()
    wait_until(lambda: scene.error("large1") == 0, "the mount has recovered", RECOVERS_S)
    assert scene.error("large2") == 0


def test_bits_that_flip_on_the_way_are_noticed_and_read_again(scene: Scene) -> None:
    for name in (*(f"f{number:02}" for number in range(FILES)), *(f"large{number}" for number in range(3))):
        scene.proxy.flip(1000, match="/packs/", times=1)
        assert scene.error(name) == 0


def test_a_server_that_lies_for_ever_gives_an_error_and_never_a_wrong_byte(scene: Scene) -> None:
    scene.proxy.flip(100, match="/packs/")
    found = {scene.error("large0"), scene.error("large1"), *(scene.error(f"f{number:02}") for number in range(8))}
    assert found <= {0, errno.EIO, *OUT_OF_REACH}
    assert errno.EIO in found
    scene.proxy.heal()
    wait_until(lambda: scene.error("large0") == 0, "the mount has recovered", RECOVERS_S)


def test_a_reader_that_waits_for_a_dead_server_can_be_killed(scene: Scene) -> None:
    assert scene.error("f00") == 0
    scene.proxy.stall()
    path = scene.mount / "vision/bikes/latest/large0"
    program = "import sys; print(flush=True); open(sys.argv[1], 'rb').read()"
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        wait_until(lambda: _is_waiting(reader.pid), "the reader waits", 5)
        reader.send_signal(signal.SIGKILL)
        assert reader.wait(FAILS_S) == -signal.SIGKILL  # when its request ends, which the kernel waits for
    scene.proxy.heal()


def test_listing_and_looking_at_files_fetches_no_content(scene: Scene) -> None:
    scene.proxy.reset_counts()
    entries = sorted(os.scandir(scene.mount / "vision/bikes/latest"), key=lambda entry: entry.name)
    sizes = {entry.name: entry.stat().st_size for entry in entries}
    assert sizes == {path.name: path.stat().st_size for path in scene.source.iterdir()}
    assert scene.proxy.counts().bytes_to_client < 100_000


def test_sixteen_readers_of_one_cold_file_cause_one_read_of_it(scene: Scene) -> None:
    path = str(scene.mount / "vision/bikes/latest/f07")
    os.stat(path)
    scene.proxy.reset_counts()
    program = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    readers = [subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) for _ in range(16)]
    expected = (scene.source / "f07").read_bytes()
    assert all(reader.communicate(timeout=FAILS_S)[0] == expected for reader in readers)
    assert scene.proxy.counts().with_path("/packs/") == 1


def test_small_files_in_random_order_over_a_far_network_take_a_request_for_fifty(tmp_path: Path) -> None:
    paths = make_files(tmp_path / "source", 2000)
    found = read_through_artfs(tmp_path, paths, 0.010)
    assert found["files"] == len(paths)
    assert found["requests"] <= len(paths) / 50


def _is_waiting(pid: int) -> bool:
    """Whether a process sleeps in the kernel."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "DS"
