"""Recording what a run did, edge by edge where it must be: by the mount before a commit, else by `artfs run`. Synchronous."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from artfs.errors import LineageCycle, NotFound, RunNotFound
from artfs.model.lineage import EdgeKind, RunRef, VersionRef
from artfs.wire.service import EDGES_MAX, Lineage

_log = logging.getLogger(__name__)


def record_edges(lineage: Lineage, run: RunRef, kind: EdgeKind, versions: Sequence[VersionRef]) -> None:
    """Record what can be: not what would follow from itself (a run that reads what it made), nor what was deleted meanwhile.

    Raises ArtfsError for every other reason.
    """
    for i in range(0, len(versions), EDGES_MAX):
        _record(lineage, run, kind, versions[i : i + EDGES_MAX])


def _record(lineage: Lineage, run: RunRef, kind: EdgeKind, versions: Sequence[VersionRef]) -> None:
    try:
        lineage.record(run.project, run.id, kind, versions)
    except (LineageCycle, NotFound) as error:
        if isinstance(error, RunNotFound):
            raise
        if len(versions) == 1:
            _log.info("%s is not recorded as %s by %s: %s", versions[0], kind.value, run, error)
            return
        for version in versions:
            _record(lineage, run, kind, [version])
