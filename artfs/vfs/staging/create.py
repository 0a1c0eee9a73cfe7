"""Making a draft without a mount, empty or from a version, for the mount that next looks to adopt it. Synchronous."""

from __future__ import annotations

import errno
from pathlib import Path

from artfs.errors import AlreadyExists, InvalidName
from artfs.model.digest import Digest
from artfs.model.lineage import VersionRef
from artfs.model.tree import LeafPage
from artfs.store.durable import storage_error
from artfs.vfs.ports import ObjectSource
from artfs.vfs.staging.draft import Base, fill_draft
from artfs.vfs.staging.layout import StagingRoot
from artfs.vfs.staging.resolve import link_count
from artfs.vfs.staging_port import DraftPlace
from artfs.wire.records import VersionRecord

DIRECTORY_MODE = 0o755


def create_draft(
    root: Path,
    place: DraftPlace,
    base: VersionRecord | None,
    source: ObjectSource,
    owner: tuple[int, int],
    now_ns: int,
) -> None:
    """Make a draft whose content is that of `base`, of the same project, without copying any.

    Args:
        root: the staging root of the registry on this machine.
        owner: user and group id of the draft's root directory.

    Raises AlreadyExists, InvalidName, StorageFull, StorageFailed.
    """
    fill = fill_draft(owner, DIRECTORY_MODE, None if base is None else _base(base, source), now_ns)
    try:
        StagingRoot(root).create(place, fill)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise AlreadyExists(
                f"{place.project}/{place.artifact} has a staging directory {place.name!r} already",
                hint="commit or remove it, or choose another name",
            ) from None
        if error.errno in (errno.EINVAL, errno.ENAMETOOLONG):
            raise InvalidName(f"{place.name!r} cannot name a staging directory: {error.strerror}") from None
        raise storage_error(error, "create the staging directory in", root) from error


def _base(version: VersionRecord, source: ObjectSource) -> Base:
    dated = source.page(version.project, Digest(version.root))
    page = dated.page
    links = link_count(page) if isinstance(page, LeafPage) else 1  # as every directory of several pages
    ref = VersionRef(version.project, version.artifact, version.number)
    return Base(Digest(version.root), page.entry_count, links, dated.created_at_ns, str(ref))
