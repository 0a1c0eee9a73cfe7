"""What a mount shows is what was put, byte by byte and name by name, whatever happens around it and however it is read."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.contract.uploading import Tree
from tests.mount import serve
from tests.mount.fingerprint import fingerprint
from tests.mount.mounting import Machine, Mount, wait_until
from tests.mount.readers import KINDS, Found, ReaderProcess
from tests.mount.trees import run, write_tree
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("verified", "one-version", "cache-limit"),
    pytest.mark.timeout(580),
    pytest.mark.serial,
]

READERS = 16
READ_S = 2.0
LONG_S = 60.0
PRESSURE_BYTES = 256 << 20
_CHOSEN = random.Random(7)
FIRST: Tree = {
    "readme.txt": b"hello\n",
    "empty": b"",
    "one": b"x",
    "a block": bytes(4096),
    "a block and a byte": _CHOSEN.randbytes(4097),
    "link": "readme.txt",
    "dangling": "no/where",
    "large.bin": _CHOSEN.randbytes(7 << 20),
    "as long as a chunk": _CHOSEN.randbytes(1 << 20),
    "nothing": {},
    "small": {f"{i:03}.dat": _CHOSEN.randbytes(i * 61) for i in range(150)},
    "deep": {"er": {"and": {"deeper": b"down", "up": "../../../readme.txt"}}},
    "ünï ✓": {"日本語.txt": "ü".encode() * 99},
    "n" * 255: b"a long name",
}
SECOND: Tree = {
    **FIRST,
    "readme.txt": b"changed\n",
    "small": {f"{i:03}.dat": _CHOSEN.randbytes(i * 50) for i in range(100)},
}
TENTH_BYTES = 1 << 20  # of what FIRST holds, and less

short_and_long = pytest.mark.parametrize("seconds", [READ_S, pytest.param(LONG_S, marks=pytest.mark.deep)])


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """The trees of v0 and v1, as ordinary files."""
    found = {"v0": write_tree(tmp_path / "first", FIRST), "v1": write_tree(tmp_path / "second", SECOND)}
    (found["v0"] / "one").chmod(0o755)
    return found


@pytest.fixture
def machine(machine: Machine, sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose registry is far, and has both trees; its cache takes a tenth of them."""
    monkeypatch.setenv(serve.FAULTS, str(machine.directory / "fault"))
    monkeypatch.setenv(serve.CACHE_BYTES, str(TENTH_BYTES))
    for name in ("v0", "v1"):
        run(sys.executable, "-m", "artfs", "--registry", machine.registry_dir, "put", "-q", "-n", "p/a", sources[name])
    return machine


def shows(mount: Mount, sources: dict[str, Path], *names: str) -> None:
    for name in names:
        expected = fingerprint(sources["v1" if name == "latest" else name], modes_of_versions=True)
        assert fingerprint(mount / f"p/a/{name}") == expected
        tried("a version compared by find and sha256sum")


def test_a_version_is_what_was_put_cold_warm_and_after_all_that_may_happen(
    machine: Machine, sources: dict[str, Path]
) -> None:
    with machine.mount() as mount, machine.mount("other") as other:
        shows(mount, sources, "v0")  # cold
        shows(mount, sources, "v0", "latest")  # warm, and from the cache
        shows(other, sources, "v0", "v1")  # from a second mount
        drop_pages(mount / "p/a")
        shows(mount, sources, "v0", "v1")
    with machine.mount() as mount:  # after a remount
        shows(mount, sources, "v1")
        with (mount / "p/a/v1/large.bin").open("rb") as held:
            held.read(10)
            run(sys.executable, "-m", "artfs", "--registry", machine.registry_dir, "rm", "--yes", "p/a:v0")
            shows(mount, sources, "v1", "latest")
            drop_pages(mount / "p/a")
            assert held.read() == (sources["v1"] / "large.bin").read_bytes()[10:]
        wait_until(lambda: not (mount / "p/a/v0").exists(), "the deleted version is gone")


@short_and_long
def test_sixteen_readers_of_every_kind_read_what_was_put(
    machine: Machine, sources: dict[str, Path], seconds: float
) -> None:
    with machine.mount() as mount, ExitStack() as stack:
        if seconds > READ_S:
            stack.enter_context(memory_pressure(machine.directory))
        (mount / "p/a/.staging/copies").mkdir()
        found = read_by_all(mount, sources, seconds)
        assert not found.wrong
        assert not found.errors
        assert set(found.reads) == set(KINDS)
        shows(mount, sources, "v0", "v1")
    for kind, count in found.reads.items():
        tried(f"a read by {kind} beside fifteen others", count)


def read_by_all(mount: Mount, sources: dict[str, Path], seconds: float) -> Found:
    """Sixteen processes read both versions in every way for so long."""
    stop, found = mount.path.parent / "stop", Found()
    readers: list[ReaderProcess] = []
    try:
        for number in range(READERS):
            name = ("v0", "v1", "latest")[number % 3]
            source = sources["v1" if name == "latest" else name]
            draft = mount / f"p/a/.staging/copies/{number}"
            kinds = list(KINDS) if number >= len(KINDS) else [list(KINDS)[number]]
            readers.append(ReaderProcess(source, mount / f"p/a/{name}", number, stop, kinds, draft))
        wait_until(lambda: all(reader.has_begun for reader in readers), "sixteen readers read", 60)
        with pytest.raises(subprocess.TimeoutExpired):
            readers[0].wait(seconds)
        stop.touch()
        for reader in readers:
            found.add(reader.found())
    finally:
        for reader in readers:
            reader.kill()
    return found


def drop_pages(directory: Path) -> None:
    """Have the kernel give up the pages of every file below `directory`."""
    for here, _, names in os.walk(directory):
        for name in names:
            path = Path(here, name)
            if not path.is_symlink():
                fd = os.open(path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)


@contextmanager
def memory_pressure(directory: Path) -> Iterator[None]:
    """A process that fills memory and the page cache and gives it up again, all the time."""
    filler = directory / "filler"
    with filler.open("wb") as file:
        for _ in range(PRESSURE_BYTES >> 20):
            file.write(os.urandom(1 << 20))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, __file__, str(filler)], env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()
        filler.unlink()


def press(filler: Path) -> None:
    fd = os.open(filler, os.O_RDONLY)
    while True:
        with mmap.mmap(-1, PRESSURE_BYTES) as memory:
            os.preadv(fd, [memory], 0)
            memory.madvise(mmap.MADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    press(Path(sys.argv[1]))
