"""`artfs token`: what users prove themselves with."""

from __future__ import annotations

import time
from typing import Any

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json, echo_table, iso_time, local_time
from artfs.errors import NewerFormat
from artfs.model.access import Scope, api_key_of_token
from artfs.model.durations import parse_duration_s
from artfs.wire.records import TokenRecord


@click.group(
    "token",
    epilog="""\b
Examples:
  (umask 077; artfs token create --user alice --expires 90d > alice.token)
  artfs token create --name "nightly job" --scope read
  artfs token list
  artfs token revoke 0123456789abcdef""",
)
def command() -> None:
    """Create, list or revoke tokens: your own, or as an administrator those of others."""


@command.command("create")
@click.option("--user", metavar="NAME", help="Whose; yours by default.")
@click.option("--name", default="", metavar="TEXT", help="What it is for, as a reminder.")
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in Scope]),
    default=Scope.WRITE.value,
    show_default=True,
    help="What it is good for; each includes the ones before.",
)
@click.option("--expires", metavar="DURATION", help="When it ends, such as 90d; never by default.")
@click.option("--wandb", is_flag=True, help="Print it as an API key for the wandb client: WANDB_API_KEY.")
@json_option
@pass_session
def create(
    session: Session, user: str | None, name: str, scope: str, expires: str | None, wandb: bool, as_json: bool
) -> None:
    """Make a token and print it: the only time that it is shown."""
    expires_at_ns = None if expires is None else time.time_ns() + parse_duration_s(expires) * 10**9
    access = session.registry.access
    new = access.tokens.create(user or _me(session), name, [Scope(scope)], expires_at_ns=expires_at_ns)
    if as_json:
        echo_json({**_json(new.record), "token": new.secret})
        return
    key = api_key_of_token(new.secret) if wandb else new.secret
    if key is None:
        raise NewerFormat("the server makes tokens that cannot be API keys", hint="upgrade the server's artfs")
    click.echo(key)
    use = "wandb login --host URL" if wandb else "artfs login URL"
    click.echo(f"the token of {new.record.user}, shown only now; for: {use}", err=True)


@command.command("list")
@click.option("--user", metavar="NAME", help="Whose; yours by default.")
@json_option
@pass_session
def list_(session: Session, user: str | None, as_json: bool) -> None:
    """List tokens, without their secrets."""
    tokens = session.registry.access.tokens.list(user or _me(session))
    if as_json:
        echo_json([_json(token) for token in tokens])
        return
    rows = (
        (
            token.id,
            token.scopes[-1].value,
            "never" if token.expires_at_ns is None else local_time(token.expires_at_ns),
            "never" if token.last_used_at_ns is None else local_time(token.last_used_at_ns),
            token.name,
        )
        for token in tokens
    )
    echo_table(("token", "scope", "expires", "last used", "name"), rows)


@command.command("revoke")
@click.argument("token_id", metavar="TOKEN")
@pass_session
def revoke(session: Session, token_id: str) -> None:
    """Make a token invalid, named by the id that `artfs token list` shows."""
    session.registry.access.tokens.revoke(token_id)
    click.echo(f"revoked {token_id}")


def _me(session: Session) -> str:
    me = session.registry.access.users.me()
    if not me.token:
        raise click.UsageError("this registry is open to you without a token: say whose is meant with --user NAME")
    return me.user.name


def _json(token: TokenRecord) -> dict[str, Any]:
    return {
        "id": token.id,
        "user": token.user,
        "name": token.name,
        "scopes": [scope.value for scope in token.scopes],
        "created_at": iso_time(token.created_at_ns),
        "expires_at": None if token.expires_at_ns is None else iso_time(token.expires_at_ns),
        "last_used_at": None if token.last_used_at_ns is None else iso_time(token.last_used_at_ns),
    }
