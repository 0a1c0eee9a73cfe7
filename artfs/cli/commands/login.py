"""`artfs login`: remember the token for a server."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from artfs.cli.context import Session, pass_session
from artfs.errors import NotAuthenticated


@click.command(
    "login",
    epilog="""\b
Examples:
  artfs login https://artfs.example.org            asks, without echo
  artfs login https://artfs.example.org --token-file token.txt
  pass show artfs | artfs login https://artfs.example.org
`artfs token create` makes a token; an administrator makes your first.""",
)
@click.argument("url")
@click.option(
    "--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Read the token there."
)
@click.option("--default", "as_default", is_flag=True, help="Have commands use it (and --ca-file): in config.toml.")
@click.option("--ca-file", default="", metavar="FILE", help="Certificates (PEM) to check the server against.")
@pass_session
def command(session: Session, url: str, token_file: Path | None, as_default: bool, ca_file: str) -> None:
    """Check a token with the server at URL and remember it, in a file that only you can read or in the keyring."""
    from artfs.client.credentials import keep_token, server_name
    from artfs.client.remote.registry import RemoteRegistry

    config = session.config
    server = server_name(url)
    token = _token(token_file)
    registry = RemoteRegistry(server, token, spool=config.data_dir / "spool", ca_file=ca_file or config.ca_file)
    try:
        identity = registry.access.users.me()
    except NotAuthenticated:
        raise NotAuthenticated(
            f"{server} does not accept this token",
            hint="it is mistyped, revoked or expired; an administrator makes another: artfs token create --user",
        ) from None
    finally:
        registry.close()
    place = keep_token(server, token, config.credentials)
    scopes = ", ".join(scope.value for scope in identity.scopes)
    click.echo(f"logged in at {server} as {identity.user.name} ({scopes}); the token is in {place}")
    if as_default:
        from artfs.config import set_in_file

        if ca_file:
            set_in_file(config.config_file, "ca_file", str(Path(ca_file).expanduser().absolute()))
        set_in_file(config.config_file, "registry", server)
        click.echo(f"commands use it from now on: registry in {config.config_file}")
    elif config.registry.rstrip("/") != server:
        click.echo(f'to use it by default: registry = "{server}" in {config.config_file}, or ARTFS_REGISTRY={server}')
    if ca_file and not as_default:
        click.echo(f"--ca-file was for this login: set ca_file in {config.config_file}, or ARTFS_CA_FILE")


def _token(token_file: Path | None) -> str:
    from artfs.client.credentials import checked_token, read_token

    if token_file is not None:
        return read_token(token_file)
    if sys.stdin.isatty():
        return checked_token(click.prompt("Token", hide_input=True, err=True), "what was typed")
    return checked_token(sys.stdin.readline(4096), "the standard input")
