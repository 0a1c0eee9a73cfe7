"""`artfs doctor`: what this machine needs, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from artfs import machine
from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.exit_codes import EXIT_CODES, OK
from artfs.cli.output import echo_json
from artfs.config import Config, without_password
from artfs.errors import ArtfsError
from artfs.machine import Check, Level
from artfs.model.sizes import format_size

MARKS = {Level.OK: ("ok", "green"), Level.WARNING: ("warn", "yellow"), Level.FAILURE: ("FAIL", "red")}


@click.command("doctor")
@json_option
@pass_session
def command(session: Session, as_json: bool) -> int:
    """Check what this machine needs, and say how to mend it. Exit code 8 if something needed is missing."""
    checks = list(_checks(session))
    settings = {name: (_value(session.config, name), source) for name, source in session.config.sources.items()}
    if as_json:
        echo_json(
            {
                "checks": [
                    {"name": c.name, "level": c.level.value, "found": c.found, "remedy": c.remedy} for c in checks
                ],
                "settings": {name: {"value": value, "source": source} for name, (value, source) in settings.items()},
            }
        )
    else:
        for check in checks:
            _show(check)
        click.echo("\nsettings")
        for name, (value, source) in settings.items():
            click.echo(f"  {name} = {value}  ({source})")
    failed = any(check.level is Level.FAILURE for check in checks)
    return EXIT_CODES["machine-not-ready"] if failed else OK


def _value(config: Config, name: str) -> str:
    """A setting as the configuration file would have it."""
    if name == "cache_size":
        return format_size(config.cache_size_bytes)
    if name == "cache":
        return config.cache.value
    if name in ("database", "storage") and getattr(config, name):
        return without_password(getattr(config, name))
    value = getattr(config, name)
    return (",".join(value) if isinstance(value, tuple) else str(value)) or "none"


def _checks(session: Session) -> Iterator[Check]:
    config = session.config
    yield from machine.check_python()
    yield from machine.check_fuse()
    yield from machine.check_limits()
    for name in ("data_dir", "cache_dir", "state_dir", "runtime_dir"):
        yield machine.check_directory(name, getattr(config, name))
    if not config.is_remote:
        yield machine.check_directory("registry", config.registry_dir)
    yield _check_registry(session)


def _check_registry(session: Session) -> Check:
    try:
        projects = session.registry.projects.list()
    except ArtfsError as error:
        return Check("registry opens", Level.FAILURE, error.message, error.hint or "artfs fsck")
    return Check("registry opens", Level.OK, f"{len(projects)} projects")


def _show(check: Check) -> None:
    word, color = MARKS[check.level]
    click.echo(f"{click.style(word.rjust(4), fg=color)}  {check.name}: {check.found}")
    if check.remedy:
        click.echo(f"      {check.remedy}")
