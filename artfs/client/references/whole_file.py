"""Whether a whole file is what its source says: its MD5, over blocks that come in any order, each of them hashed once.

A file of one block is checked before anybody gets it. Of a longer one a digest runs along the file: over a block that comes
if it is the next one, and over those behind it that are in memory. When the last block that was missing has come, it runs on
over all that this machine holds. It stops at a block that is no longer held, and goes on when that is fetched again: until then
the file is not verified. What was verified is remembered with the digests of its blocks.

Owners: what is known of the blocks, and which digest runs, has `_lock`; the digest itself belongs to whoever holds `_running`.
While it runs nothing else is locked, so that who reads other blocks does not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import md5, sha256
from typing import TYPE_CHECKING

from artfs.errors import DamagedObject
from artfs.model.digest import Digest
from artfs.vfs.ports import Bytes

if TYPE_CHECKING:
    from artfs.client.references.seen import SeenBlocks

Find = Callable[[int], tuple[Digest, Bytes] | None]
"""A block and its SHA-256, or None."""


class _Run:
    """Digests of the blocks before `next`: the MD5 of their bytes, and the SHA-256 of their digests."""

    def __init__(self) -> None:
        self.md5 = md5(usedforsecurity=False)
        self.digests = sha256()
        self.next = 0

    def take(self, digest: Digest, data: Bytes) -> None:
        self.md5.update(data)
        self.digests.update(digest)
        self.next += 1


class WholeFile:
    """What is known of one file. Safe from any thread.

    Args:
        label: the file, in messages.
        expected: the MD5 of all its bytes.
        name: what its blocks are called in `seen`.
    """

    def __init__(self, label: str, expected: bytes, name: bytes, block_count: int, seen: SeenBlocks | None) -> None:
        self._label = label
        self._expected = expected
        self._name = name
        self._count = block_count
        self._seen = seen
        self._lock = threading.Lock()
        self._running = threading.Lock()
        self._arrived: bytearray | None = None  # by block, whether its digest is known; None before `seen` was asked
        self._missing = block_count
        self._is_verified = self._is_due = False
        self._epoch = 0
        self._run = _Run()

    @property
    def epoch(self) -> int:
        """Another number after what had come was thrown away: what was on its way then is not to be kept."""
        return self._epoch

    @property
    def is_due(self) -> bool:
        """All blocks are known, and since the last one came nobody has looked whether they are right."""
        if self._count < 2:
            return False
        with self._lock:
            self._load()
            return self._is_due

    @property
    def is_verified(self) -> bool:
        with self._lock:
            self._load()
            return self._is_verified

    def admit(self, data: Bytes, epoch: int) -> None:
        """Look at a block that was asked for in `epoch`, before it is kept or given to anybody. Raises DamagedObject."""
        if epoch != self._epoch:
            raise DamagedObject(f"{self._label} was wrong, and is to be fetched again", hint="read it again")
        if self._count == 1:
            found = md5(data, usedforsecurity=False).digest()
            if found != self._expected:
                raise self._damaged(found)

    def came(self, number: int, *, is_new: bool) -> None:
        """A block was fetched, and has the digest that is known of it; `is_new`: since now."""
        with self._lock:
            self._load()
            if self._is_verified:
                if not is_new:
                    return
                self._is_verified, self._arrived, self._missing = False, bytearray(b"\1" * self._count), 0
            assert self._arrived is not None
            if self._arrived[number] and is_new:  # what was known of it is lost, and these bytes may be other ones
                self._run = _Run()
            elif not self._arrived[number]:
                self._arrived[number] = 1
                self._missing -= 1
            self._is_due = not self._missing

    def run(self, find: Find, *, wait: bool) -> None:
        """Let the digest run over what `find` finds. Raises DamagedObject at its end, if the file is not what it must be.

        Args:
            wait: for another thread in which it runs; else that one, or a later one, takes along what there is.
        """
        with self._lock:
            if self._is_verified:
                return
            if wait:
                self._is_due = False
        if not self._running.acquire(blocking=wait):
            return
        try:
            run = self._run
            while run is self._run and run.next < self._count:
                found = find(run.next)
                if found is None:
                    return
                run.take(*found)
            self._finish(run)
        finally:
            self._running.release()

    def differing(self) -> DamagedObject:
        """A block came that is not what it was before: which of the two is right, only what was verified tells."""
        if not self.is_verified:
            self._discard()
        return DamagedObject(f"{self._label} came with other bytes than before", hint="read it again")

    def _discard(self) -> None:
        """Forget what had come: one of the blocks is wrong, and nobody knows which."""
        if self._seen is not None:
            self._seen.forget(self._name)
        with self._lock:
            self._arrived, self._missing = None, self._count
            self._is_verified = self._is_due = False
            self._run = _Run()
            self._epoch += 1

    def _load(self) -> None:
        if self._arrived is not None or self._is_verified:
            return
        if self._seen is not None and self._seen.is_verified(self._name):
            self._is_verified = True
            return
        self._arrived = bytearray(self._count)
        for number in [] if self._seen is None else self._seen.numbers(self._name):
            if number < self._count:
                self._arrived[number] = 1
        self._missing = self._arrived.count(0)
        self._is_due = not self._missing

    def _finish(self, run: _Run) -> None:
        found = run.md5.digest()
        with self._lock:
            if run is not self._run or self._is_verified:
                return
            if found == self._expected:
                self._is_verified, self._is_due, self._arrived = True, False, None
        if found != self._expected:
            self._discard()
            raise self._damaged(found)
        if self._seen is not None:
            self._seen.note_verified(self._name, Digest(run.digests.digest()))

    def _damaged(self, found: bytes) -> DamagedObject:
        return DamagedObject(
            f"{self._label} came with the MD5 {found.hex()} in place of {self._expected.hex()}",
            hint="to read it again fetches all of it again; if that does not help, it is damaged where it is stored",
        )
