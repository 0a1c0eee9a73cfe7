"""`artfs user`: who may have tokens."""

from __future__ import annotations

from typing import Any

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json, echo_table, iso_time, local_time
from artfs.wire.records import UserRecord


@click.group(
    "user",
    epilog="""\b
Examples:
  artfs user add alice
  artfs user add carol --admin
  artfs user disable mallory""",
)
def command() -> None:
    """Add, list, disable or remove users: with an administrator's token, or on the server's machine."""


@command.command("list")
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List users."""
    users = session.registry.access.users.list()
    if as_json:
        echo_json([_json(user) for user in users])
        return
    rows = ((user.name, _kind(user), local_time(user.created_at_ns)) for user in users)
    echo_table(("user", "kind", "added"), rows)


@command.command("add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="May do everything, everywhere.")
@json_option
@pass_session
def add(session: Session, name: str, admin: bool, as_json: bool) -> None:
    """Add a user, who then needs a token: artfs token create --user NAME."""
    user = session.registry.access.users.create(name, admin=admin)
    if as_json:
        echo_json(_json(user))
    else:
        click.echo(f"added {name}; next: artfs token create --user {name}")


@command.command("disable")
@click.argument("name")
@pass_session
def disable(session: Session, name: str) -> None:
    """Make a user's tokens invalid until the user is enabled again."""
    session.registry.access.users.update(name, disabled=True)
    click.echo(f"disabled {name}")


@command.command("enable")
@click.argument("name")
@pass_session
def enable(session: Session, name: str) -> None:
    """Let a disabled user in again."""
    session.registry.access.users.update(name, disabled=False)
    click.echo(f"enabled {name}")


@command.command("admin")
@click.argument("name")
@click.option("--off", is_flag=True, help="No longer.")
@pass_session
def admin(session: Session, name: str, off: bool) -> None:
    """Let a user administer the server."""
    session.registry.access.users.update(name, admin=not off)
    click.echo(f"{name} {'no longer administers' if off else 'administers'} the server")


@command.command("remove")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_session
def remove(session: Session, name: str, yes: bool) -> None:
    """Remove a user with all tokens and memberships. What the user made stays."""
    if not yes:
        click.confirm(f"Remove {name}, with all tokens and memberships?", abort=True, err=True)
    session.registry.access.users.delete(name)
    click.echo(f"removed {name}")


def _kind(user: UserRecord) -> str:
    kind = "administrator" if user.admin else "user"
    return f"{kind}, disabled" if user.disabled else kind


def _json(user: UserRecord) -> dict[str, Any]:
    return {
        "user": user.name,
        "admin": user.admin,
        "disabled": user.disabled,
        "created_at": iso_time(user.created_at_ns),
    }
