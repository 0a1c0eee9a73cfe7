"""`artfs alias`: list, move or remove aliases."""

from __future__ import annotations

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json, echo_table
from artfs.cli.refs import artifact_name, resolve_version
from artfs.model.names import check_alias, version_name


@click.command(
    "alias",
    epilog="""\b
Examples:
  artfs alias vision/bikes                    list them
  artfs alias vision/bikes:v3 best prod       make best and prod mean v3
  artfs alias vision/bikes --remove prod      remove prod""",
)
@click.argument("ref", metavar="PROJECT/ARTIFACT[:VERSION]")
@click.argument("names", nargs=-1, metavar="[ALIAS]...")
@click.option("--remove", is_flag=True, help="Remove the aliases instead of moving them.")
@json_option
@pass_session
def command(session: Session, ref: str, names: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """List, move or remove aliases."""
    if not names:
        if remove:
            raise click.UsageError("--remove needs the aliases to remove")
        _list(session, ref, as_json)
        return
    for alias in names:
        check_alias(alias)
    if remove:
        name = artifact_name(ref)
        for alias in names:
            session.registry.aliases.remove(name.project, name.artifact, alias)
        return
    version, _ = resolve_version(session.registry, ref)
    for alias in names:
        session.registry.aliases.move(version.project, version.artifact, alias, version.number)
        click.echo(f"{version.project}/{version.artifact}:{alias} is now {version.name}", err=True)


def _list(session: Session, ref: str, as_json: bool) -> None:
    name = artifact_name(ref)
    aliases = session.registry.aliases.list(name.project, name.artifact)
    if as_json:
        echo_json({alias: version_name(number) for alias, number in sorted(aliases.items())})
    else:
        echo_table(("alias", "version"), ((alias, version_name(n)) for alias, n in sorted(aliases.items())))
