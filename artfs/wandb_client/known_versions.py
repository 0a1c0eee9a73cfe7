"""The versions that a W&B server told of, by what stands for their roots and by their ids. Owner of all: a lock."""

from __future__ import annotations

import threading

from cachetools import LRUCache

from artfs.model.digest import Digest
from artfs.wandb_client.versions import WandbVersion

VERSIONS_MAX = 100_000  # some 600 bytes each


class KnownVersions:
    """Those that were met last."""

    def __init__(self, versions_max: int = VERSIONS_MAX) -> None:
        self._lock = threading.Lock()
        self._by_root: LRUCache[Digest, WandbVersion] = LRUCache(versions_max)
        self._by_id: LRUCache[str, WandbVersion] = LRUCache(versions_max)

    def note(self, version: WandbVersion) -> None:
        root = version.root
        with self._lock:
            self._by_root[root] = version
            self._by_id[version.id] = version

    def of_root(self, root: Digest) -> WandbVersion | None:
        with self._lock:
            return self._by_root.get(root)

    def of_id(self, id: str) -> WandbVersion | None:
        with self._lock:
            return self._by_id.get(id)
