"""`artfs log`: the versions of an artifact, newest first."""

from __future__ import annotations

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json, echo_table, local_time, version_json
from artfs.cli.refs import artifact_name
from artfs.model.sizes import format_size


@click.command("log", epilog="Example:  artfs log vision/bikes -n 5")
@click.argument("artifact", metavar="PROJECT/ARTIFACT")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Show only the newest N.")
@json_option
@pass_session
def command(session: Session, artifact: str, limit: int | None, as_json: bool) -> None:
    """Show the versions of an artifact, newest first."""
    name = artifact_name(artifact)
    versions = session.registry.versions.list(name.project, name.artifact)[::-1][:limit]
    if as_json:
        echo_json([version_json(v) for v in versions])
        return
    any_expire = any(v.expires_at_ns is not None for v in versions)
    rows = (
        (
            v.name,
            ", ".join(v.aliases),
            local_time(v.created_at_ns),
            format_size(v.size_bytes),
            str(v.file_count),
            v.digest.hex()[:12],
            v.created_by,
            *([local_time(v.expires_at_ns) if v.expires_at_ns is not None else ""] if any_expire else []),
            v.description.partition("\n")[0],
        )
        for v in versions
    )
    expires = ["expires"] if any_expire else []
    header = ("version", "aliases", "created", "size", "files", "digest", "by", *expires, "description")
    echo_table(header, rows, right=(3, 4))
