"""`artfs mount`: the registry as directories."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json
from artfs.cli.systemd_unit import mount_unit
from artfs.config import Config
from artfs.errors import InvalidValue
from artfs.fuse.mount_options import MountOptions, parse_mount_options


@click.command(
    "mount",
    epilog="""\b
Examples:
  artfs mount ~/artfs
  artfs mount --registry https://artfs.example.org ~/team
  artfs mount --registry wandb+https://api.wandb.ai/ENTITY ~/wandb
  artfs mount --supervise ~/artfs               mounted again if it dies
  artfs mount --read-only --pin /data/artfs     aliases keep their meaning
  artfs mount -o allow_other,ro /data/artfs     as /etc/fstab writes it
  artfs umount ~/artfs""",
)
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("--registry", metavar="DIR|URL", help="The registry to show, as `artfs --registry` names it.")
@click.option("--foreground", is_flag=True, help="Serve in this process, logging to stderr, until interrupted.")
@click.option("--supervise", is_flag=True, help="Mount again, within two seconds, whenever the mount's process dies.")
@click.option("--systemd-unit", is_flag=True, help="Print a unit for systemd that mounts so, and mount nothing.")
@click.option("--read-only", is_flag=True, help="Refuse every change; no staging.")
@click.option("--pin", is_flag=True, help="Aliases keep the meaning that they have now, for the life of the mount.")
@click.option("--allow-other", is_flag=True, help="Let other users of this machine in, too.")
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help="Options as in /etc/fstab, separated by commas.")
@json_option
@pass_session
def command(
    session: Session,
    mountpoint: Path,
    registry: str | None,
    foreground: bool,
    supervise: bool,
    systemd_unit: bool,
    read_only: bool,
    pin: bool,
    allow_other: bool,
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the registry as directories at MOUNTPOINT, which is created if need be. Returns when the mount is usable."""
    parsed = parse_mount_options(options)
    wanted = replace(
        parsed,
        foreground=parsed.foreground or foreground,
        supervise=parsed.supervise or supervise,
        read_only=parsed.read_only or read_only,
        pin=parsed.pin or pin,
        allow_other=parsed.allow_other or allow_other,
    )
    settings = parsed.settings if registry is None else {**parsed.settings, "registry": registry}
    config = session.with_settings(settings)
    if config.is_wandb:
        if wanted.pin:
            raise InvalidValue("a W&B server does not tell what aliases meant", hint="name versions: v3, not an alias")
        wanted = replace(wanted, read_only=True)
    if systemd_unit:
        click.echo(mount_unit(mountpoint.expanduser().absolute(), config, wanted), nl=False)
        return
    _mount(session, mountpoint, config.for_others() if wanted.allow_other else config, wanted, as_json=as_json)


def _mount(session: Session, mountpoint: Path, config: Config, options: MountOptions, *, as_json: bool) -> None:
    from artfs.assemble import MountBackend, mount_records
    from artfs.fuse.mount import mount_in_background, mount_in_foreground
    from artfs.machine import require_fuse

    require_fuse()
    records = mount_records(config)
    opened = partial(MountBackend, config)
    if options.foreground:
        session.log_to_stderr()
        mount_in_foreground(mountpoint, config.registry, options, records, opened)
        return
    record = mount_in_background(mountpoint, config.registry, options, records, opened, log_level=config.log_level)
    if as_json:
        echo_json({"mountpoint": record.mountpoint, "pid": record.pid, "registry": record.registry, "log": record.log})
    else:
        click.echo(f"{record.registry} is mounted at {record.mountpoint} (process {record.pid}, log {record.log})")
