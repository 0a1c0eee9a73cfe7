"""Mount a registry as `artfs mount` does, in a process of its own. A script that `mounting.Machine` runs; tests never import it.

    serve.py MOUNTPOINT REGISTRY_DIR MACHINE_DIR JSON_OPTIONS

Prints the mount's record, or the error, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artfs.errors import ArtfsError
from artfs.fuse.mount import mount_in_background
from artfs.fuse.mount_options import MountOptions
from artfs.fuse.mount_records import MountRecords

if TYPE_CHECKING:
    from artfs.vfs.door import Door
    from artfs.vfs.kernel import KernelCaches
    from artfs.vfs.staging_port import StagingArea
    from artfs.vfs.view import View


FAULTS = (
    "TEST_MOUNT_FAULTS"  # the file of `faulty_registry.Faults`: the registry is to be a far one that fails on command
)
CACHE_BYTES = "TEST_MOUNT_CACHE_BYTES"  # the limit of the cache on disk; without it there is none
LITTLE_MEMORY_BYTES = 4 << 20  # with a cache on disk, so that it is used
CACHE_DIR = "TEST_MOUNT_CACHE_DIR"  # where that is, if not below the machine's directory


class RegistryBackend:
    """An embedded registry with the client's reader and uploads; drafts are kept in `staging_dir`."""

    def __init__(self, registry_dir: Path, machine: Path) -> None:
        from artfs.cache.object_cache import ObjectCache
        from artfs.client.objects import MEMORY_BYTES, ObjectReader
        from artfs.client.pack_source import LocalPacks
        from artfs.client.remembered.answer_file import AnswerFile
        from artfs.client.remembered.registry import RememberingRegistry
        from artfs.client.upload import Uploads
        from artfs.registry.embedded import EmbeddedRegistry
        from artfs.wire.service import Registry
        from tests.faults.faulty_registry import Faults, FaultyPacks, faulty

        self.registry: Registry = EmbeddedRegistry(registry_dir)
        self._far: RememberingRegistry | None = None
        packs, dates = LocalPacks(), None
        if FAULTS in os.environ:
            faults = Faults(Path(os.environ[FAULTS]))
            dates = AnswerFile(machine / "catalog.db")
            self.registry = self._far = RememberingRegistry(faulty(self.registry, faults), dates)
            self._far.load()
            packs = FaultyPacks(faults)
        cache = None
        if CACHE_BYTES in os.environ:
            cache_dir = Path(os.environ.get(CACHE_DIR, machine / "cache"))
            cache = ObjectCache(cache_dir, int(os.environ[CACHE_BYTES]), "test")
        self._cache = cache
        memory_bytes = MEMORY_BYTES if cache is None else LITTLE_MEMORY_BYTES
        self.source = ObjectReader(self.registry, packs=packs, memory_bytes=memory_bytes, cache=cache, dates=dates)
        self._uploads = Uploads(self.registry)
        self.known = None if self._far is None else self._far.known
        self._staging_dir = machine / "staging"

    def open_staging(self, view: View, door: Door, kernel: KernelCaches) -> StagingArea | None:
        from artfs.vfs.staging.area import Staging

        return Staging(self._staging_dir, self.source, self._uploads, door, created_by="test")

    def status(self) -> Mapping[str, Any]:
        return {
            "memory": self.source.status(),
            "registry": None if self._far is None else self._far.status(),
            "disk": None if self._cache is None else self._cache.status(),
        }

    def close(self) -> None:
        self._uploads.close()
        self.source.close()
        self.registry.close()


def main(mountpoint: str, registry_dir: str, machine_dir: str, options: str) -> int:
    machine = Path(machine_dir)
    try:
        record = mount_in_background(
            Path(mountpoint),
            registry_dir,
            MountOptions(**json.loads(options)),
            MountRecords(machine / "state", machine / "run"),
            lambda: RegistryBackend(Path(registry_dir), machine),
            log_level="info",
        )
    except ArtfsError as error:
        sys.stdout.write(json.dumps({"code": error.code, "message": str(error)}))
        return 1
    sys.stdout.write(json.dumps({"pid": record.pid, "log": record.log}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
