"""The run that this command is a part of: `ARTFS_RUN=project/id` in the environment, which `artfs run` sets."""

from __future__ import annotations

import os

import click

from artfs.cli.context import Session
from artfs.errors import NotFound
from artfs.model.lineage import EdgeKind, RunRef, VersionRef
from artfs.wire.records import VersionRecord


def current_run(session: Session) -> RunRef | None:
    """The run, if it is one of this registry. Raises InvalidName for a variable that names none."""
    text = os.environ.get("ARTFS_RUN", "")
    if not text:
        return None
    run = RunRef.parse(text)
    try:
        session.registry.runs.get(run.project, run.id)
    except NotFound:
        click.echo(f"artfs: not noted: run {run} is not in {session.config.registry}", err=True)
        return None
    return run


def note_used(session: Session, version: VersionRecord) -> None:
    """Note that the current run, if there is one, used a version."""
    from artfs.vfs.edges import record_edges

    run = current_run(session)
    if run is not None:
        used = VersionRef(version.project, version.artifact, version.number)
        record_edges(session.registry.lineage, run, EdgeKind.USED, [used])
