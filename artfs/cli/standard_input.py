"""A version's file as standard input: `artfs run -- sort < m/p/a/v3/list` reads what the shell opened a moment before.

Nobody in the run opens it, so no mount can note it. What else was open before is not looked for: that a command has it does not
mean that it reads it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from artfs.fuse.mount_records import MountRecords
from artfs.model.lineage import VersionRef
from artfs.model.names import parse_version

_VERSION = "user.artfs.version"
_PARTS_MIN = 4  # project/artifact/version/file


def version_read_from(records: MountRecords, registry: str) -> VersionRef | None:
    """The version that standard input is a file of, in a mount of `registry`."""
    try:
        if not stat.S_ISREG(os.fstat(0).st_mode):
            return None
        path = Path(os.readlink("/proc/self/fd/0"))
        for record in records.list():
            if record.registry == registry and path.is_relative_to(record.mountpoint):
                return _version_of(Path(record.mountpoint), path.relative_to(record.mountpoint).parts)
    except OSError:
        pass  # closed, or a draft's, or gone
    return None


def _version_of(mountpoint: Path, parts: tuple[str, ...]) -> VersionRef | None:
    if len(parts) < _PARTS_MIN:
        return None
    project, artifact, name = parts[:3]
    number = parse_version(os.getxattr(mountpoint / project / artifact / name, _VERSION).decode())
    return None if number is None else VersionRef(project, artifact, number)
