"""`artfs serve`: a registry for a team, over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from artfs.cli.context import Session, pass_session
from artfs.errors import InvalidValue, MachineNotReady

if TYPE_CHECKING:
    from starlette.routing import Route

    from artfs.config import Config

DEFAULT_LISTEN = "127.0.0.1:7433"
_F = TypeVar("_F", bound=Callable[..., Any])


def _limit(option: str, name: str, type_: type[int] | type[float], what: str) -> Callable[[_F], _F]:
    """An option for one of the server's bounds; the default is the settings' own."""
    kind: click.IntRange | click.FloatRange = click.IntRange(1) if type_ is int else click.FloatRange(0.1)
    unit = "SECONDS" if name.endswith("_s") else "N"
    return click.option(option, name, type=kind, metavar=unit, help=what)


@click.command(
    "serve",
    epilog="""\b
Examples:
  artfs serve                  this user's registry, to this machine
  artfs serve --listen 0.0.0.0:7433 --tls-cert cert.pem --tls-key key.pem
  artfs serve --database postgresql://artfs@db/artfs --storage s3://bucket/pre
The first user, on the same machine, with the same database and storage:
  artfs user add alice --admin
  artfs token create --user alice --scope admin""",
)
@click.option(
    "--listen", default=DEFAULT_LISTEN, show_default=True, metavar="HOST:PORT|unix:PATH", help="Where to listen."
)
@click.option("--database", metavar="URL", help="sqlite:PATH or postgresql://...; by default the registry's own.")
@click.option("--storage", metavar="DIR|URL", help="A directory, s3://, gs:// or az://BUCKET/PREFIX.")
@click.option("--encryption-keys", metavar="FILE|env:NAME", help="Keys that packs in a directory are encrypted with.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that serve.")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="Certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="Its private key (PEM).")
@click.option("--insecure-http", is_flag=True, help="Listen on other than this machine without TLS: behind a proxy.")
@click.option("--trusted-proxy", metavar="ADDR,...", help="Believe X-Forwarded-For from there, not only from here.")
@click.option("--public-url", metavar="URL", help="Where clients reach the server, if not where it listens.")
@click.option("--accel-prefix", metavar="PATH", help="Let nginx send packs from this internal location.")
@click.option("--access-log", type=click.Path(path_type=Path), help="Append the access log there, not to stdout.")
@click.option("--metrics-listen", metavar="HOST:PORT", help="Answer /metrics there, to everybody, and only there.")
@click.option("--wandb", is_flag=True, help="Answer the wandb client of W&B too (docs/wandb.md).")
@_limit("--max-requests", "requests_max", int, "Requests under way at once, a worker.")
@_limit("--max-waiting", "waiters_max", int, "Clients waiting for changes, a worker.")
@_limit("--max-guesses", "guesses_free", int, "Wrong tokens from an address before it is slowed.")
@_limit("--header-timeout", "header_s", float, "Time for a request's headers.")
@_limit("--body-timeout", "body_start_s", float, "Time for a body, besides its length at a low rate.")
@_limit("--stall-timeout", "stall_s", float, "Time a client may take nothing of its answer.")
@_limit("--stop-timeout", "stop_s", int, "Time to finish requests when told to stop.")
@pass_session
def command(
    session: Session,
    /,
    listen: str,
    database: str | None,
    storage: str | None,
    encryption_keys: str | None,
    workers: int,
    tls_cert: str | None,
    tls_key: str | None,
    insecure_http: bool,
    public_url: str | None,
    access_log: Path | None,
    wandb: bool,
    **options: Any,
) -> int:
    """Serve the registry to a team: users, tokens and projects with members (docs/access.md), over HTTP (docs/api.md)."""
    try:
        from artfs.server.process import Listen, prepare, serve
        from artfs.server.settings import ServerSettings
    except ImportError as error:
        raise MachineNotReady(f"{error}", hint="install artfs with its extra: artfs[server]") from None
    from artfs.assemble import open_own_registry

    place = Listen(listen, tls_cert or "", tls_key or "")
    if bool(tls_cert) != bool(tls_key):
        raise InvalidValue("--tls-cert and --tls-key go together", hint="give both")
    if not place.is_local and not tls_cert and not insecure_http:
        raise InvalidValue(
            f"{listen} can be reached from other machines, and tokens would pass in the clear",
            hint="give --tls-cert and --tls-key, or --insecure-http if a proxy in front does TLS",
        )
    if public_url is not None and not public_url.startswith(("http://", "https://")):
        raise InvalidValue(f"--public-url {public_url!r} is not a URL", hint="write https://HOST[:PORT]")
    settings = {"database": database, "storage": storage, "encryption_keys": encryption_keys}
    config = session.with_settings({name: value for name, value in settings.items() if value is not None})
    limits = ServerSettings(**{name: value for name, value in options.items() if value is not None})
    open_registry = partial(open_own_registry, config, trusted=False)
    place.check_certificate()
    prepare(open_registry, workers)
    _log_to(access_log, session.config.log_level)
    with place.bind() as listening:
        _say(config.described_registry, public_url or place.url(listening))
        return serve(
            open_registry, place, listening, limits, workers, _wandb(config, public_url or "") if wandb else _nothing
        )


def _nothing() -> Sequence[Route]:
    return ()


def _wandb(config: Config, public_url: str) -> Callable[[], Sequence[Route]]:
    """What the `wandb` client asks for. Raises MachineNotReady."""
    try:
        from artfs.wandb_server.routes import opener, routes
    except ImportError as error:
        raise MachineNotReady(f"{error}", hint="install artfs with its extra: artfs[server]") from None
    from artfs.assemble import open_client

    opened = opener(partial(open_client, config), config.registry_dir / "wandb", public_url)
    return lambda: routes(opened)


def _say(registry: str, url: str) -> None:
    click.echo(f"artfs serves {registry} at {url}", err=True)
    click.echo("  the first user, on this machine and with the same registry, database and storage:", err=True)
    click.echo("  artfs user add NAME --admin && artfs token create --user NAME --scope admin", err=True)
    click.echo(f"  then, anywhere: artfs login {url}", err=True)


def _log_to(access_log: Path | None, level: str) -> None:
    """The log goes to stderr, the access log (JSON lines) to stdout or a file."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s")
    from artfs.server.log_lines import LineHandler

    log = logging.getLogger("artfs.access")
    log.handlers[:] = [LineHandler(access_log)]
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
