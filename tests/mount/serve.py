"""Mount a registry as `artfs mount` does, in a process of its own. A script that `mounting.Machine` runs; tests never import it.

    serve.py MOUNTPOINT REGISTRY_DIR MACHINE_DIR JSON_OPTIONS

Prints the mount's record, or the error, as JSON.
"""

from __future__ import annotations

import json
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


class RegistryBackend:
    """An embedded registry with the client's reader and uploads; drafts are kept in `staging_dir`."""

    def __init__(self, registry_dir: Path, staging_dir: Path) -> None:
        from artfs.client.client import Client
        from artfs.registry.embedded import EmbeddedRegistry

        self.known = None
        self.registry = EmbeddedRegistry(registry_dir)
        self._client = Client(self.registry)
        self.source = self._client.objects
        self._staging_dir = staging_dir

    def open_staging(self, view: View, door: Door, kernel: KernelCaches) -> StagingArea | None:
        from artfs.vfs.staging.area import Staging

        return Staging(self._staging_dir, self.source, self._client.uploads, door, created_by="test")

    def status(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        self._client.close()


def main(mountpoint: str, registry_dir: str, machine_dir: str, options: str) -> int:
    machine = Path(machine_dir)
    try:
        record = mount_in_background(
            Path(mountpoint),
            registry_dir,
            MountOptions(**json.loads(options)),
            MountRecords(machine / "state", machine / "run"),
            lambda: RegistryBackend(Path(registry_dir), machine / "staging"),
            log_level="info",
        )
    except ArtfsError as error:
        sys.stdout.write(json.dumps({"code": error.code, "message": str(error)}))
        return 1
    sys.stdout.write(json.dumps({"pid": record.pid, "log": record.log}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
