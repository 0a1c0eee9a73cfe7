"""`artfs ttl`: how long a version lives."""

from __future__ import annotations

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json, local_time, version_json
from artfs.cli.refs import resolve_version
from artfs.errors import InvalidName
from artfs.model.durations import NEVER, parse_ttl_s
from artfs.wire.records import VersionChange


@click.command(
    "ttl",
    epilog="""\b
Examples:
  artfs ttl vision/bikes:v3          when it expires
  artfs ttl vision/bikes:v3 30d      thirty days from now
  artfs ttl vision/bikes:v3 never""",
)
@click.argument("version", metavar="PROJECT/ARTIFACT:VERSION")
@click.argument("age", required=False, metavar="[AGE|never]")
@json_option
@pass_session
def command(session: Session, version: str, age: str | None, as_json: bool) -> None:
    """Show or set when a version expires: from then on it is deleted, unless an alias other than latest names it."""
    ttl_s = None if age is None else parse_ttl_s(age)
    registry = session.registry
    record, path = resolve_version(registry, version)
    if path:
        raise InvalidName(f"{version} names a file", hint="name a version")
    if ttl_s is not None:
        change = VersionChange(ttl_s=ttl_s)
        record = registry.versions.update(record.project, record.artifact, record.number, change)
    if as_json:
        echo_json(version_json(record))
        return
    expires = NEVER if record.expires_at_ns is None else f"at {local_time(record.expires_at_ns)}"
    click.echo(f"{record.project}/{record.artifact}:{record.name} expires {expires}")
