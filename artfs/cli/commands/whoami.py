"""`artfs whoami`: who the registry takes the caller for."""

from __future__ import annotations

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json, iso_time, local_time


@click.command("whoami")
@json_option
@pass_session
def command(session: Session, as_json: bool) -> None:
    """Show who the registry takes you for, and what your token is good for."""
    identity = session.registry.access.users.me()
    scopes = [scope.value for scope in identity.scopes]
    end_ns = identity.expires_at_ns
    if as_json:
        echo_json(
            {
                "user": identity.user.name,
                "admin": identity.user.admin,
                "scopes": scopes,
                "token": identity.token or None,
                "expires_at": None if end_ns is None else iso_time(end_ns),
            }
        )
        return
    admin = ", administrator" if identity.user.admin else ""
    until = "" if end_ns is None else f", until {local_time(end_ns)}"
    click.echo(f"{identity.user.name}{admin} at {session.config.registry} ({', '.join(scopes)}{until})")
