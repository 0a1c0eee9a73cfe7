"""Processes that use a mount which is killed under them: readers that compare all they read, and a writer with a ledger.

    python -m tests.faults.mount_workers read MOUNT SOURCE SEED
    python -m tests.faults.mount_workers write MOUNT LEDGER

Each works until SIGTERM. A reader then prints what it met, as JSON; the writer has appended to LEDGER whatever was promised.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

FILES = 6  # in a version, besides its number
# What calls answer while there is no mount, or end with when it dies; ENOENT is of the directory beneath.
AWAY = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT, errno.EIO, errno.EBADF})
PATIENCE_S = 30.0
LATE_MAX = 8


def content(number: int, file: int) -> bytes:
    """What version `number` has in a file."""
    choose = random.Random(f"{number} {file}")
    return choose.randbytes(choose.choice((10, 5_000, 200_000)))


def read_whole(path: str | Path, directory: int | None = None) -> bytes:
    file = os.open(path, os.O_RDONLY, dir_fd=directory)
    with os.fdopen(file, "rb") as opened:
        return opened.read()


def read_at(file: int, size_bytes: int, begin: int) -> bytes:
    """A read that a dying mount cut off is short, and the next one says why; one of nothing is the end of the file."""
    found = b""
    while len(found) < size_bytes and (part := os.pread(file, size_bytes - len(found), begin + len(found))):
        found += part
    return found


def close(file: int) -> None:
    """Of a mount that may be gone: the kernel says so, and closes all the same."""
    with suppress(OSError):
        os.close(file)


class FilesOnDisk(Mapping[str, bytes]):
    """The files of a directory by name. They may be more than memory holds."""

    def __init__(self, directory: Path) -> None:
        self._paths = {path.name: path for path in sorted(directory.iterdir())}

    def __getitem__(self, name: str) -> bytes:
        return self._paths[name].read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class Reader:
    """Reads files of `v0`, which are those of `source`, at once or late, and versions through the alias that moves."""

    def __init__(self, mount: Path, source: Path, seed: int) -> None:
        self.artifact = mount / "p/a"
        self.data = FilesOnDisk(source)
        self.choose = random.Random(seed)
        self.late: list[tuple[str, int]] = []
        self.met: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.away_s: list[float] = []

    def work(self, is_over: Callable[[], bool]) -> None:
        since = None
        while not is_over():
            try:
                self.choose.choice((self.read, self.read, self.open_for_later, self.read_alias))()
            except OSError as error:
                self.count_error(error)
                since = since or time.monotonic()
                time.sleep(0.002)
            else:
                if since is not None:
                    self.away_s.append(time.monotonic() - since)
                    since = None
            self.read_late()

    def count_error(self, error: OSError) -> None:
        self.met[errno.errorcode[error.errno or 0]] += 1
        if error.errno not in AWAY:
            self.wrong.append(str(error))

    def check(self, what: str, found: bytes, expected: bytes) -> None:
        self.met["reads"] += 1
        if found != expected:
            is_short = expected.startswith(found)
            self.wrong.append(f"{what}: {len(found)} bytes for {len(expected)}, {'cut off' if is_short else 'others'}")

    def read(self) -> None:
        name = self.choose.choice(sorted(self.data))
        self.check(name, read_whole(self.artifact / "v0" / name), self.data[name])

    def open_for_later(self) -> None:
        name = self.choose.choice(sorted(self.data))
        self.late.append((name, os.open(self.artifact / "v0" / name, os.O_RDONLY)))
        if len(self.late) > LATE_MAX:
            close(self.late.pop(0)[1])

    def read_late(self) -> None:
        """A file that was opened before: its bytes, or an error if its mount is gone."""
        if not self.late:
            return
        name, file = self.choose.choice(self.late)
        data = self.data[name]
        begin = self.choose.randrange(len(data))
        try:
            self.check(f"{name}, late", read_at(file, 50_000, begin), data[begin : begin + 50_000])
        except OSError as error:
            self.count_error(error)
            self.late.remove((name, file))
            close(file)

    def read_alias(self) -> None:
        directory = os.open(self.artifact / "best", os.O_RDONLY | os.O_DIRECTORY)
        try:
            number = int(read_whole("number", directory))
            for file in range(FILES):
                self.check(f"best {number}/{file}", read_whole(f"f{file}", directory), content(number, file))
        finally:
            close(directory)


class Writer:
    """Makes one version after the other, repeating what a dying mount cut off."""

    def __init__(self, mount: Path, ledger: Path) -> None:
        self.artifact = mount / "p/a"
        self.ledger = ledger

    def work(self, is_over: Callable[[], bool]) -> None:
        number = 1
        while not is_over():
            number += 1
            self.insist(partial(self.draft(number).mkdir, exist_ok=True))
            for file in range(FILES):
                self.insist(partial(self.write, number, f"f{file}", content(number, file)))
                self.note(synced=(number, file))
            self.insist(partial(self.write, number, "number", str(number).encode()))
            self.insist(partial(self.commit, number))
            self.note(committed=number)

    def draft(self, number: int) -> Path:
        return self.artifact / ".staging" / f"d{number}"

    def write(self, number: int, name: str, data: bytes) -> None:
        with (self.draft(number) / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def commit(self, number: int) -> None:
        try:
            self.draft(number).rename(self.artifact / "best")
        except FileNotFoundError:
            if int(read_whole(self.artifact / "best/number")) != number:  # an earlier try may have gone through
                raise

    def insist(self, action: Callable[[], None]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                action()
                return
            except OSError as error:
                if error.errno not in AWAY or time.monotonic() > deadline:
                    raise
            time.sleep(0.002)

    def note(self, **line: object) -> None:
        with self.ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def main(what: str, mount: str, place: str, seed: str = "0") -> int:
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    if what == "write":
        Writer(Path(mount), Path(place)).work(lambda: bool(asked))
        return 0
    reader = Reader(Path(mount), Path(place), int(seed))
    reader.work(lambda: bool(asked))
    sys.stdout.write(json.dumps({"met": reader.met, "wrong": reader.wrong, "away_s": reader.away_s}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
