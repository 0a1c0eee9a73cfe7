"""A mixed load on a mount: every kind of reader, committers, deletions, moved aliases, listings, all at once.

What is read is compared with what was written. While the server is away calls may fail, each with the errno that says so.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from artfs.client.remote.registry import RemoteRegistry
from artfs.errors import ArtfsError, RegistryUnavailable, StillAliased, VersionNotFound

AWAY = {errno.EHOSTUNREACH}
BACK_S = 45.0  # after which nothing may fail any more because the server was away
VERSIONS_KEPT = 4
ALIASES = ("best", "good")
CHANGING = "changing"
_PIECE_BYTES = 128 << 10
_MAP_AND_HASH = """
import hashlib, mmap, os, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
    print(hashlib.sha256(pages).hexdigest())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
"""


@dataclass(frozen=True)
class Steady:
    """A version that stays: its directory in the mount, and what its files hold."""

    root: Path
    digests: dict[str, str]
    source: Path

    def any(self, chance: random.Random, *, large: bool = False) -> str:
        return chance.choice([name for name in self.digests if not large or name.startswith("large")])


@dataclass
class Load:
    """What workers share. Owner of the counts: whoever holds the lock."""

    project: Path
    steady: Steady
    registry: RemoteRegistry
    done: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    away_until_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def server_is_away(self, for_s: float) -> None:
        self.away_until_s = time.monotonic() + for_s

    def work(self, name: str, act: Callable[[random.Random], None], pause_s: float) -> None:
        """Act until the load ends."""
        chance = random.Random(name)
        while not self.done.wait(pause_s):
            try:
                act(chance)
            except (OSError, ArtfsError) as error:
                if not self._is_excused(error):
                    self.failures.append(f"{name}: {error!r}")
                    self.done.set()
            except AssertionError as error:
                self.failures.append(f"{name}: {error}")
                self.done.set()
            else:
                self.count(name)

    def count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def _is_excused(self, error: OSError | ArtfsError) -> bool:
        unreachable = isinstance(error, RegistryUnavailable) or getattr(error, "errno", 0) in AWAY
        if unreachable:
            self.count("calls refused while the server was away")
        return unreachable and time.monotonic() < self.away_until_s


class Readers:
    """Every way to read a file; each compares what it reads. The kernel's copy is let go of, so that the mount is asked again."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._steady = load.steady

    def whole(self, chance: random.Random) -> None:
        name = self._steady.any(chance)
        with (self._steady.root / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            _let_go(file.fileno())
        assert digest == self._steady.digests[name], f"{name} reads as {digest}"

    def ranges(self, chance: random.Random) -> None:
        name = self._steady.any(chance, large=True)
        with (self._steady.root / name).open("rb") as file, (self._steady.source / name).open("rb") as source:
            for _ in range(20):
                at = chance.randrange(os.fstat(source.fileno()).st_size)
                expected = os.pread(source.fileno(), _PIECE_BYTES, at)
                assert _range(file.fileno(), at, len(expected)) == expected, f"{name} differs at {at}"
            _let_go(file.fileno())

    def vectors(self, chance: random.Random) -> None:
        name = self._steady.any(chance, large=True)
        with (self._steady.root / name).open("rb") as file, (self._steady.source / name).open("rb") as source:
            pieces = [bytearray(5000), bytearray(70_000)]
            at = chance.randrange(os.fstat(source.fileno()).st_size - 80_000)
            read = os.preadv(file.fileno(), pieces, at)
            assert b"".join(pieces)[:read] == os.pread(source.fileno(), read, at), f"{name} differs at {at}"

    def mapped(self, chance: random.Random) -> None:
        """In a process of its own: a page that cannot be had is a signal that ends it."""
        name = self._steady.any(chance, large=True)
        command = [sys.executable, "-c", _MAP_AND_HASH, str(self._steady.root / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode == -signal.SIGBUS:
            raise OSError(errno.EHOSTUNREACH, f"a page of {name} cannot be had")
        if done.returncode:
            raise OSError(errno.EHOSTUNREACH if "No route to host" in done.stderr else 0, done.stderr)
        assert done.stdout.strip() == self._steady.digests[name], f"{name} is mapped as {done.stdout}"

    def direct(self, chance: random.Random) -> None:
        name = self._steady.any(chance, large=True)
        with mmap.mmap(-1, _PIECE_BYTES) as aligned, (self._steady.source / name).open("rb") as source:
            fd = os.open(self._steady.root / name, os.O_RDONLY | os.O_DIRECT)
            try:
                at = chance.randrange(8) * (1 << 20)
                read = os.preadv(fd, [aligned], at)
                assert aligned[:read] == os.pread(source.fileno(), read, at), f"{name} differs at {at}"
            finally:
                os.close(fd)

    def sent(self, chance: random.Random) -> None:
        """sendfile(2) to a file."""
        name = self._steady.any(chance)
        with (self._steady.root / name).open("rb") as file, open(os.memfd_create("sent"), "w+b") as sink:
            sent = 0
            while more := os.sendfile(sink.fileno(), file.fileno(), None, 1 << 20):
                sent += more
            sink.seek(0)
            assert hashlib.file_digest(sink, "sha256").hexdigest() == self._steady.digests[name], name
            _let_go(file.fileno())

    def held(self, chance: random.Random) -> None:
        """Descriptors that are opened early and read late."""
        names = [self._steady.any(chance) for _ in range(20)]
        fds = [os.open(self._steady.root / name, os.O_RDONLY) for name in names]
        try:
            self._load.done.wait(3)
            for name, fd in zip(names, fds, strict=True):
                with open(fd, "rb", closefd=False) as file:
                    assert hashlib.file_digest(file, "sha256").hexdigest() == self._steady.digests[name], name
        finally:
            for fd in fds:
                os.close(fd)

    def listed(self, chance: random.Random) -> None:
        """`ls -lR` of everything; what is deleted meanwhile may be missing."""
        done = subprocess.run(
            ["ls", "-lR", self._load.project], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0 or done.stderr, "ls failed without a word"

    def newest(self, chance: random.Random) -> None:
        """A file says which commit it is of, twice: through one open directory both must be of one."""
        try:
            self._look_twice()
        except OSError as error:
            if error.errno not in (errno.ESTALE, errno.ENOENT):  # deleted while it was read
                raise

    def _look_twice(self) -> None:
        directory = os.open(self._load.project / CHANGING / "latest", os.O_RDONLY | os.O_DIRECTORY)
        try:
            said = []
            for name in ("number", "sub/number"):
                fd = os.open(name, os.O_RDONLY, dir_fd=directory)
                try:
                    said.append(os.read(fd, 100))
                finally:
                    os.close(fd)
        finally:
            os.close(directory)
        assert said[0] == said[1], f"two versions through one directory: {said}"


def _range(fd: int, at: int, size_bytes: int) -> bytes:
    """To the last byte: a read ends early where the next page cannot be had, and only the one from there on says why."""
    found = b""
    while len(found) < size_bytes and (more := os.pread(fd, size_bytes - len(found), at + len(found))):
        found += more
    return found


class Writers:
    """Who changes the registry, through the mount and beside it."""

    def __init__(self, load: Load, name: str) -> None:
        self._load = load
        self._name = name
        self._number = 0

    def commit(self, chance: random.Random) -> None:
        """A draft by hand, committed by a rename; what was left of one that failed is committed first."""
        place = self._load.project / CHANGING
        draft = place / ".staging" / self._name
        if not draft.exists():
            self._number += 1
            number = f"{self._name} {self._number}".encode()
            (draft / "sub").mkdir(parents=True)
            (draft / "number").write_bytes(number)
            (draft / "sub/number").write_bytes(number)
            (draft / "same").write_bytes(b"same" * 1000)
            (draft / "data").write_bytes(chance.randbytes(chance.randrange(300_000)))
        os.rename(draft, place / chance.choice(ALIASES))

    def delete(self, chance: random.Random) -> None:
        """All but the newest versions, and those that somebody else moved an alias to."""
        versions = self._load.registry.versions
        listed = versions.list(self._load.project.name, CHANGING)
        old = [version.number for version in listed if not version.aliases]
        for number in sorted(old)[: -VERSIONS_KEPT or None]:
            try:
                versions.delete(self._load.project.name, CHANGING, [number])
            except (StillAliased, VersionNotFound):
                continue

    def move(self, chance: random.Random) -> None:
        listed = self._load.registry.versions.list(self._load.project.name, CHANGING)
        try:
            if listed:
                number = chance.choice(listed).number
                self._load.registry.aliases.move(self._load.project.name, CHANGING, chance.choice(ALIASES), number)
        except VersionNotFound:
            return  # somebody deleted it


def workers(load: Load) -> list[threading.Thread]:
    """All of them, not yet started."""
    readers = Readers(load)
    acts: list[tuple[str, Callable[[random.Random], None], float]] = [
        ("files read whole", readers.whole, 0.01),
        ("files read whole by another", readers.whole, 0.01),
        ("times twenty ranges read", readers.ranges, 0.05),
        ("vectors read", readers.vectors, 0.02),
        ("files mapped", readers.mapped, 0.05),
        ("direct reads", readers.direct, 0.02),
        ("files sent", readers.sent, 0.05),
        ("times twenty descriptors held", readers.held, 0.1),
        ("listings of everything", readers.listed, 2.0),
        ("looks at the newest version", readers.newest, 0.05),
        ("commits", Writers(load, "ann").commit, 0.5),
        ("commits by another", Writers(load, "bob").commit, 0.7),
        ("rounds of deletions", Writers(load, "").delete, 1.5),
        ("moves of an alias", Writers(load, "").move, 0.3),
    ]
    return [threading.Thread(target=load.work, args=one, name=one[0]) for one in acts]


def _let_go(fd: int) -> None:
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
