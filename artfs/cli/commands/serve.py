"""`artfs serve`: a registry for a team, over HTTP."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path

import click

from artfs.cli.context import Session, pass_session
from artfs.errors import InvalidValue, MachineNotReady

DEFAULT_LISTEN = "127.0.0.1:7433"


@click.command(
    "serve",
    epilog="""\b
Examples:
  artfs serve                                     this user's registry, on this machine
  artfs serve --listen 0.0.0.0:7433 --tls-cert cert.pem --tls-key key.pem --workers 4
  artfs serve --database postgresql://artfs@db/artfs --storage s3://bucket/prefix
The first user, on the same machine and with the same --database and --storage:
  artfs user add alice --admin && artfs token create --user alice --scope admin""",
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
@click.option("--accel-prefix", default="", metavar="PATH", help="Let nginx send packs from this internal location.")
@click.option("--access-log", type=click.Path(path_type=Path), help="Append the access log there, not to stdout.")
@pass_session
def command(
    session: Session,
    listen: str,
    database: str | None,
    storage: str | None,
    encryption_keys: str | None,
    workers: int,
    tls_cert: str | None,
    tls_key: str | None,
    insecure_http: bool,
    accel_prefix: str,
    access_log: Path | None,
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
    settings = {"database": database, "storage": storage, "encryption_keys": encryption_keys}
    config = session.with_settings({name: value for name, value in settings.items() if value is not None})
    open_registry = partial(open_own_registry, config, trusted=False)
    prepare(open_registry, workers)
    _log_to(access_log, session.config.log_level)
    with place.bind() as listening:
        click.echo(f"artfs serves {config.described_registry} at {place.url(listening)}", err=True)
        return serve(open_registry, place, listening, ServerSettings(accel_prefix=accel_prefix), workers)


def _log_to(access_log: Path | None, level: str) -> None:
    """The log goes to stderr, the access log (JSON lines) to stdout or a file."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s")
    handler: logging.Handler = logging.StreamHandler(sys.stdout)
    if access_log is not None:
        handler = logging.FileHandler(access_log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("artfs.access")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
