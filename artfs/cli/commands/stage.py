"""`artfs stage`: a staging directory, empty or drafted from a version."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json
from artfs.errors import InvalidName
from artfs.model.names import STAGING_NAME, ArtifactRef
from artfs.wandb_client.services import refuse_change


@click.command(
    "stage",
    epilog="""\b
Examples:
  artfs stage vision/bikes:v3 fix   a draft of v3, at once whatever its size
  artfs stage vision/bikes next     an empty one
then change ~/artfs/vision/bikes/.staging/fix and commit it:
  mv -T ~/artfs/vision/bikes/.staging/fix ~/artfs/vision/bikes/best""",
)
@click.argument("ref", metavar="PROJECT/ARTIFACT[:VERSION]")
@click.argument("name")
@json_option
@pass_session
def command(session: Session, ref: str, name: str, as_json: bool) -> None:
    """Open a staging directory, empty or drafted from a version without copying data."""
    from artfs.assemble import staging_root
    from artfs.vfs.staging.create import create_draft
    from artfs.vfs.staging_port import DraftPlace

    parsed = ArtifactRef.parse(ref)
    if parsed.artifact is None or parsed.path:
        raise InvalidName(f"{ref!r} names no artifact or version", hint="write project/artifact or project/artifact:v3")
    if session.config.is_wandb:
        refuse_change()
    registry = session.registry
    base = None
    if parsed.selector is not None:
        base = registry.versions.resolve(parsed.project, parsed.artifact, parsed.selector)
    else:
        registry.artifacts.get(parsed.project, parsed.artifact)
    place = DraftPlace(parsed.project, parsed.artifact, name)
    root = staging_root(session.config, registry.identity)
    create_draft(root, place, base, session.client.objects, (os.getuid(), os.getgid()), time.time_ns())
    shown = [str(path) for path in _where_mounted(session, place)]
    if as_json:
        echo_json({"project": place.project, "artifact": place.artifact, "name": name, "paths": shown})
    elif shown:
        click.echo(shown[0])
    else:
        click.echo(f"{name} is open; it appears in {ref.partition(':')[0]}/{STAGING_NAME} of the next mount", err=True)


def _where_mounted(session: Session, place: tuple[str, str, str]) -> list[Path]:
    """The draft's path in every writable mount of this registry."""
    from artfs.assemble import mount_records

    project, artifact, name = place
    return [
        Path(record.mountpoint, project, artifact, STAGING_NAME, name)
        for record in mount_records(session.config).list()
        if record.registry == session.config.registry and not record.read_only
    ]
