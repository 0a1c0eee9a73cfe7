"""A registry that is out of reach, stalled or denying when a test says so, with every call to it counted.

What strikes is written in a file, so that a test can command a mount's process too; while the file is absent all is well.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from artfs.client.pack_source import LocalPacks
from artfs.errors import AccessDenied, RegistryUnavailable
from artfs.wire.service import Registry

DEAD, STALLED, DENYING = "dead", "stalled", "denying"
STALL_S = 4.0  # after which a call gives up, as a client with timeouts does


class Faults:
    """What strikes now: one of the words above, or nothing.

    Attributes:
        calls: how often each method was called, by `service.method`.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()

    def set(self, fault: str) -> None:
        """Empty for none."""
        if fault:
            temporary = self._file.with_suffix(".tmp")
            temporary.write_text(fault)
            temporary.rename(self._file)
        else:
            self._file.unlink(missing_ok=True)

    @property
    def now(self) -> str:
        try:
            return self._file.read_text()
        except FileNotFoundError:
            return ""

    def strike(self, call: str) -> None:
        with self._lock:
            self.calls[call] += 1
        fault = self.now
        if fault == DEAD:
            raise RegistryUnavailable("cannot reach the registry: connection refused")
        if fault == STALLED:
            began_s = time.monotonic()
            while self.now == STALLED:
                if time.monotonic() - began_s > STALL_S:
                    raise RegistryUnavailable("cannot reach the registry: no answer in time")
                time.sleep(0.01)
        if fault == DENYING:
            raise AccessDenied("the token does not allow it")


class _Service:
    def __init__(self, name: str, find: Callable[[], Any], faults: Faults) -> None:
        self._name = name
        self._find = find
        self._faults = faults

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self._faults.strike(f"{self._name}.{method}")
            return getattr(self._find(), method)(*args, **named)

        return call


SERVICES = (
    "projects",
    "artifacts",
    "versions",
    "deletions",
    "aliases",
    "drafts",
    "shared_drafts",
    "runs",
    "sweeps",
    "lineage",
    "objects",
    "changes",
)


class _FaultyRegistry:
    def __init__(self, inner: Registry, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults
        for name in SERVICES:
            setattr(self, name, _Service(name, lambda name=name: getattr(inner, name), faults))  # type: ignore[misc]  # bound now

    @property
    def identity(self) -> str:
        self._faults.strike("identity")
        return self._inner.identity

    @property
    def spool(self) -> Path:
        return self._inner.spool

    def close(self) -> None:
        self._inner.close()


def faulty(inner: Registry, faults: Faults) -> Registry:
    """`inner`, behind `faults`."""
    return cast(Registry, _FaultyRegistry(inner, faults))


class FaultyPacks(LocalPacks):
    """Packs on disk, behind the same faults: as far away as the registry."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def read(self, url: str, offset: int, length: int) -> bytes:
        self._faults.strike("packs.read")
        return super().read(url, offset, length)
