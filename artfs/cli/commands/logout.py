"""`artfs logout`: forget the token for a server."""

from __future__ import annotations

import click

from artfs.cli.context import Session, pass_session


@click.command("logout")
@click.argument("url")
@pass_session
def command(session: Session, url: str) -> None:
    """Forget the token for the server at URL. It stays valid: `artfs token revoke` ends it everywhere."""
    from artfs.client.credentials import forget_token, server_name

    known = forget_token(url, session.config.credentials)
    click.echo(f"{'forgot the token for' if known else 'there was no token for'} {server_name(url)}")
