"""`artfs gc`: delete what expired, and what nothing holds, in a registry that this machine opens itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import counted, echo_json
from artfs.model.names import version_name
from artfs.model.sizes import format_size
from artfs.wandb_client.services import refuse_change

if TYPE_CHECKING:
    from artfs.wire.deletions import Collected

NAMED_MAX = 20


@click.command(
    "gc",
    epilog="""\b
Examples:
  artfs gc --dry-run    what has expired, and how many bytes that frees
  artfs gc              daily, from cron; a server does it by itself""",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be deleted, and how many bytes it would free.")
@json_option
@pass_session
def command(session: Session, dry_run: bool, as_json: bool) -> None:
    """Delete versions whose time to live is over, uploads that were given up, and every byte that nothing holds."""
    config = session.config
    if config.is_wandb:
        refuse_change()
    if config.is_remote:
        if as_json:
            echo_json({"collected_by": config.registry})
        else:
            click.echo(f"{config.registry} deletes what expired by itself, every minute; there is nothing to do here")
        return
    from artfs.assemble import collect_own_registry

    done = collect_own_registry(config, dry_run=dry_run)
    if as_json:
        echo_json(_json(done))
    else:
        _say(done, "would delete" if dry_run else "deleted")


def _json(done: Collected) -> dict[str, Any]:
    return {
        "versions": _names(done),
        "uploads": done.draft_count,
        "objects": done.object_count,
        "freed_bytes": done.freed_bytes,
    }


def _say(done: Collected, verb: str) -> None:
    names = _names(done)
    for name in names[:NAMED_MAX]:
        click.echo(f"{verb} {name}: expired")
    if len(names) > NAMED_MAX:
        click.echo(f"{verb} {len(names) - NAMED_MAX} more that expired")
    what = f"{counted(len(names), 'version')} and {counted(done.draft_count, 'unfinished upload')}"
    size = f"{format_size(done.freed_bytes)} ({done.freed_bytes} bytes)"
    click.echo(f"{verb} {what}: {counted(done.object_count, 'object')}, {size}")


def _names(done: Collected) -> list[str]:
    return [
        f"{plan.project}/{one.artifact}:{version_name(number)}"
        for plan in done.expired
        for one in plan.artifacts
        for number in one.numbers
    ]
