"""`artfs status`: mounts, their drafts and uploads, and the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import counted, echo_json, local_time
from artfs.errors import Unavailable
from artfs.model.sizes import format_size

if TYPE_CHECKING:
    from artfs.fuse.mount_records import MountRecords
    from artfs.fuse.supervisor_records import SupervisorRecord


@click.command("status", epilog="Example:  artfs status --json | jq '.mounts[].mountpoint'")
@json_option
@pass_session
def command(session: Session, as_json: bool) -> None:
    """Show mounts, staging directories, uploads under way, why commits failed, and the cache."""
    from artfs.assemble import mount_records

    mounts = _mounts(mount_records(session.config))
    if as_json:
        echo_json({"mounts": mounts})
        return
    if not mounts:
        click.echo("nothing is mounted")
    for mount in mounts:
        _show(mount)


def _mounts(records: MountRecords) -> list[dict[str, Any]]:
    """What each mount says of itself and is said of its supervisor; also of those that are about to be mounted again."""
    from artfs.fuse.mount import mount_status

    supervisors = {record.mountpoint: record for record in records.supervisors.list()}
    found: dict[str, dict[str, Any]] = {}
    for record in records.list():
        try:
            found[record.mountpoint] = mount_status(record)
        except Unavailable as error:
            found[record.mountpoint] = {"pid": record.pid, "registry": record.registry, "error": str(error)}
    for place, supervisor in supervisors.items():
        if place not in found:
            why = supervisor.trouble or "it has not begun yet"
            found[place] = {"pid": None, "registry": supervisor.registry, "error": why}
    return [
        {"mountpoint": place, **mount, "supervisor": _supervisor(supervisors.get(place))}
        for place, mount in sorted(found.items())
    ]


def _supervisor(record: SupervisorRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {"pid": record.pid, "restarts": record.restarts, "restarted_at_ns": record.restarted_at_ns or None}


def _show(mount: dict[str, Any]) -> None:
    process = "being mounted" if mount["pid"] is None else f"process {mount['pid']}"
    click.echo(f"{click.style(mount['mountpoint'], bold=True)}  {mount['registry']}  ({process})")
    if mount["supervisor"] is not None:
        _show_supervisor(mount["supervisor"])
    if "error" in mount:
        what = "not mounted" if mount["pid"] is None else "does not answer"
        click.echo(f"  {click.style(what, fg='red')}: {mount['error']}")
        return
    flags = [name.replace("_", "-") for name in ("read_only", "pin") if mount[name]]
    facts = [f"up {_duration(mount['uptime_s'])}", f"memory {format_size(mount['memory_bytes'])}", *flags]
    click.echo(f"  {', '.join(facts)}")
    _show_cache(mount.get("cache") or {})
    for draft in (mount["filesystem"].get("staging") or {}).get("drafts", []):
        _show_draft(draft)
    for error in mount["last_errors"][-3:]:
        click.echo(f"  {click.style('error', fg='red')}: {error}")


def _show_supervisor(supervisor: dict[str, Any]) -> None:
    restarts, at_ns = supervisor["restarts"], supervisor["restarted_at_ns"]
    history = f"restarted {counted(restarts, 'time')}, last {local_time(at_ns)}" if restarts else "never restarted"
    click.echo(f"  supervised by process {supervisor['pid']}: {history}")


def _show_cache(cache: dict[str, Any]) -> None:
    """What came from where: only mounts of a registry over a network, or with a cache, have any of it."""
    registry = cache.get("registry")
    if registry is not None:
        since = local_time(registry["since_ns"])
        if registry["reachable"]:
            click.echo(f"  registry reachable since {since}, {registry['requests']} requests")
        else:
            click.echo(f"  {click.style('registry out of reach', fg='red')} since {since}: {registry['last_error']}")
    disk = cache.get("disk")
    if disk is not None:
        fetched = format_size(sum(cache[part].get("fetched_bytes", 0) for part in ("memory", "references")))
        click.echo(f"  cache: {disk['hits']} hits, {disk['misses']} misses; {fetched} fetched")


def _show_draft(draft: dict[str, Any]) -> None:
    place = f"{draft['project']}/{draft['artifact']}/.staging/{draft['name']}"
    backlog = f", {draft['backlog_files']} files waiting" if draft.get("backlog_files") else ""
    click.echo(f"  draft {place}: {draft['state']}{backlog}")
    if draft.get("error"):
        click.echo(f"    {click.style('the last commit failed', fg='red')}: {draft['error']}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
