"""Reading files of a mount in every way that programs read, and comparing every byte with the source: in processes of their own.

    readers.py SOURCE SHOWN SEED KINDS STOP_FILE [DRAFT]

reads files below SHOWN at random, in the ways that KINDS names (separated by commas), until STOP_FILE exists; then prints `Found`
as JSON. What the kernel holds of a file is given up before most reads, so that they reach the mount. `ReaderProcess` runs it.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

BLOCK = 4096
PIECE = 128 << 10
STOP_S = 120.0
WRONG_MAX = 20  # that are described
READS_MIN = 20  # also of a reader that is told to stop as soon as it has begun
WRONG_EXIT = 3


class WrongBytes(Exception):
    """A read gave something else than what was put."""


@dataclass
class Found:
    """What one reader met: reads by kind, errors by the name of their errno, and reads that were wrong, in words."""

    reads: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    read_bytes: int = 0

    def add(self, other: Found) -> None:
        self.reads.update(other.reads)
        self.errors.update(other.errors)
        self.wrong += other.wrong
        self.read_bytes += other.read_bytes


@dataclass
class Place:
    """Where reads may begin, and a file of a draft of the same mount to copy into, if there is one."""

    chosen: random.Random
    draft: Path | None = None

    def part(self, size: int) -> tuple[int, int]:
        start = self.chosen.randrange(size + 1)
        return start, self.chosen.choice((1, 100, BLOCK, PIECE, size))


Read = Callable[[int, bytes, Place], int]
"""Read from a descriptor what must be these bytes, or a part of it; returns how many were read."""


def check(found: bytes | memoryview, expected: bytes | memoryview, what: str = "") -> int:
    if found != expected:
        at = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), -1)
        raise WrongBytes(f"{what}{len(found)} bytes where {len(expected)} belong, the first difference at {at}")
    return len(found)


def whole(fd: int, data: bytes, place: Place) -> int:
    digest, length = sha256(), 0
    while part := os.read(fd, PIECE):
        digest.update(part)
        length += len(part)
    if digest.digest() != sha256(data).digest():
        raise WrongBytes(f"{length} bytes with another SHA-256, of {len(data)}")
    return length


def pread(fd: int, data: bytes, place: Place) -> int:
    done = 0
    for _ in range(4):
        start, length = place.part(len(data))
        done += check(os.pread(fd, length, start), data[start : start + length], f"at {start}: ")
    return done


def readv(fd: int, data: bytes, place: Place) -> int:
    start, length = place.part(len(data))
    buffers = [bytearray(1 + length // 3) for _ in range(3)]
    count = os.preadv(fd, buffers, start)
    return check(b"".join(buffers)[:count], data[start : start + sum(map(len, buffers))], f"at {start}: ")


def direct(fd: int, data: bytes, place: Place) -> int:
    """O_DIRECT: into aligned memory, past the kernel's page cache."""
    own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, PIECE) as buffer:
            start = place.chosen.randrange(len(data) // BLOCK + 1) * BLOCK
            count = os.preadv(own, [buffer], start)
            return check(buffer[:count], data[start : start + PIECE], f"at {start}: ")
    finally:
        os.close(own)


def sendfile(fd: int, data: bytes, place: Place) -> int:
    target = os.memfd_create("sent", os.MFD_CLOEXEC)
    try:
        start, _ = place.part(len(data))
        sent = start
        while count := os.sendfile(target, fd, sent, PIECE):
            sent += count
        return check(os.pread(target, len(data) + 1, 0), data[start:], f"from {start}: ")
    finally:
        os.close(target)


def mapped(fd: int, data: bytes, place: Place) -> int:
    """In a process of its own: what cannot be read there is SIGBUS."""
    if not data:
        return 0
    child = os.fork()
    if not child:
        status = 0
        try:
            with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as view:
                for _ in range(4):
                    start, length = place.part(len(data))
                    if view[start : start + length] != data[start : start + length]:
                        status = WRONG_EXIT
        except BaseException:  # noqa: BLE001  # whatever it is, it must not go on as the reader
            status = 1
        os._exit(status)
    _, how = os.waitpid(child, 0)
    if os.WIFSIGNALED(how) and os.WTERMSIG(how) == signal.SIGBUS:
        raise OSError(errno.EIO, "SIGBUS")
    if how:
        raise WrongBytes(f"in a mapping (status {how})")
    return len(data)


def late(fd: int, data: bytes, place: Place) -> int:
    """A descriptor that was held for a while, and moved about."""
    head = os.read(fd, 10)
    delay_s = place.chosen.random() * 0.05
    time.sleep(delay_s)
    start, _ = place.part(len(data))
    os.lseek(fd, start, os.SEEK_SET)
    return check(head, data[:10]) + check(os.read(fd, PIECE), data[start : start + PIECE], f"late, at {start}: ")


def copy_range(fd: int, data: bytes, place: Place) -> int:
    """Into a file of the same mount, as cp does; elsewhere the kernel refuses it, and cp reads."""
    if place.draft is None:
        return whole(fd, data, place)
    target = os.open(place.draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while count := os.copy_file_range(fd, target, len(data) + 1, done, done):
            done += count
        return check(os.pread(target, len(data) + 1, 0), data, "copied: ")
    finally:
        os.close(target)


def splice(fd: int, data: bytes, place: Place) -> int:
    reader, writer = os.pipe()
    try:
        start, _ = place.part(len(data))
        got = bytearray()
        while count := os.splice(fd, writer, 1 << 16, offset_src=start + len(got)):
            got += os.read(reader, count)
        return check(bytes(got), data[start:], f"from {start}: ")
    finally:
        os.close(reader)
        os.close(writer)


KINDS: Mapping[str, Read] = {
    "whole": whole,
    "pread": pread,
    "readv": readv,
    "O_DIRECT": direct,
    "sendfile": sendfile,
    "mmap": mapped,
    "held and read late": late,
    "copy_file_range": copy_range,
    "splice": splice,
}


def read_once(kind: str, path: Path, data: bytes, place: Place, found: Found, *, drop: bool) -> None:
    """One read of the file at `path`, which must hold `data`, or be an error."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if drop:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            found.read_bytes += KINDS[kind](fd, data, place)
        finally:
            os.close(fd)
        found.reads[kind] += 1
    except WrongBytes as wrong:
        found.wrong.append(f"{kind} of {path}: {wrong}")
    except OSError as error:
        found.errors[errno.errorcode.get(error.errno or 0, str(error))] += 1


def contents(source: Path) -> dict[str, bytes]:
    """The files below `source` by path."""
    return {str(path.relative_to(source)): path.read_bytes() for path in sorted(source.rglob("*")) if path.is_file()}


def read_until(stop: Path, data: Mapping[str, bytes], shown: Path, kinds: Sequence[str], place: Place) -> Found:
    found, names = Found(), sorted(data)
    tries = 0
    while (tries < READS_MIN or not stop.exists()) and len(found.wrong) < WRONG_MAX:
        tries += 1
        name, kind = place.chosen.choice(names), place.chosen.choice(kinds)
        read_once(kind, shown / name, data[name], place, found, drop=place.chosen.random() < 0.9)
    return found


class ReaderProcess:
    """A reader that runs until `stop`; one that is not asked ends with its process group in `kill`."""

    def __init__(
        self, source: Path, shown: Path, seed: int, stop: Path, kinds: Sequence[str] = (), draft: Path | None = None
    ) -> None:
        self._begun = _begun(stop, seed)
        self._begun.unlink(missing_ok=True)
        words = [source, shown, seed, ",".join(kinds or KINDS), stop, *([] if draft is None else [draft])]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def has_begun(self) -> bool:
        """Whether it knows its source, and reads."""
        return self._begun.exists()

    def wait(self, timeout_s: float) -> None:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        self._process.wait(timeout_s)

    def found(self) -> Found:
        """What it met, when it has been told to stop."""
        output, said = self._process.communicate(timeout=STOP_S)
        assert self._process.returncode == 0, said
        answer: dict[str, Any] = json.loads(output)
        return Found(Counter(answer["reads"]), Counter(answer["errors"]), answer["wrong"], answer["read_bytes"])

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()


def _begun(stop: Path, seed: int) -> Path:
    return stop.with_name(f"{stop.name}.begun-{seed}")


def main(source: str, shown: str, seed: str, kinds: str, stop: str, draft: str = "") -> int:
    place = Place(random.Random(int(seed)), Path(draft) if draft else None)
    data = contents(Path(source))
    _begun(Path(stop), int(seed)).touch()
    found = read_until(Path(stop), data, Path(shown), kinds.split(","), place)
    sys.stdout.write(json.dumps(vars(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
