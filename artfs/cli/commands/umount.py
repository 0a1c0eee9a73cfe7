"""`artfs umount`: take a mount away."""

from __future__ import annotations

from pathlib import Path

import click

from artfs.cli.context import Session, pass_session


@click.command("umount", epilog="Example:  artfs umount ~/artfs")
@click.argument("mountpoints", nargs=-1, type=click.Path(path_type=Path), metavar="[MOUNTPOINT]...")
@click.option("--all", "everything", is_flag=True, help="All mounts of this user.")
@click.option("-l", "--lazy", is_flag=True, help="Detach a mount in use; it ends when its last user does.")
@pass_session
def command(session: Session, mountpoints: tuple[Path, ...], everything: bool, lazy: bool) -> None:
    """Unmount, and wait until everything staged is durable and the process has ended."""
    from artfs.assemble import mount_records
    from artfs.fuse.mount import unmount

    records = mount_records(session.config)
    known = {mount.mountpoint for mount in records.list()} | {kept.mountpoint for kept in records.supervisors.list()}
    chosen = list(map(Path, sorted(known))) if everything else list(mountpoints)
    if not chosen and not everything:
        raise click.UsageError("name a mount point, or --all")
    for mountpoint in chosen:
        unmount(mountpoint, records, lazy=lazy)
