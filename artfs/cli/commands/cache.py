"""`artfs cache`: what is kept on local disk, and making it smaller."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.exit_codes import EXIT_CODES, OK
from artfs.cli.output import counted, echo_json
from artfs.cli.pinning import pin, pins, unpin
from artfs.cli.progress import meter
from artfs.model.sizes import format_size, parse_size

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache


@click.group(
    "cache",
    epilog="""\b
Examples:
  artfs cache info
  artfs cache cleanup 1GB      keep the most recently used gigabyte
  artfs cache pin vision/bikes:v3
  artfs cache verify""",
)
def command() -> None:
    """Inspect, shrink, pin or verify the local cache. Nothing in it is ever the only copy."""


for _command in (pin, unpin, pins):
    command.add_command(_command)


@command.command("info")
@json_option
@pass_session
def info(session: Session, as_json: bool) -> None:
    """Show where the cache is, how large it is and how large it may become."""
    with closing(_open(session)) as cache:
        found = cache.info()
    if as_json:
        echo_json(
            {
                "root": str(found.root),
                "size_bytes": found.size_bytes,
                "limit_bytes": found.limit_bytes,
                "objects": found.object_count,
                "segments": found.segment_count,
                "pinned_objects": found.pinned_count,
                "pinned_bytes": found.pinned_bytes,
                "pins": len(found.pins),
                "hits": found.hits,
                "misses": found.misses,
                "mode": session.config.cache.value,
            }
        )
    else:
        size = f"{format_size(found.size_bytes)} of at most {format_size(found.limit_bytes)}"
        click.echo(f"{found.root}: {size}, {found.object_count} objects (cache = {session.config.cache.value})")
        asked = found.hits + found.misses
        if asked:
            click.echo(f"  {found.hits} of {asked} objects asked for were held ({100 * found.hits / asked:.0f} %)")
        if found.pins:
            click.echo(f"  {len(found.pins)} pins hold {found.pinned_count} objects, {format_size(found.pinned_bytes)}")


@command.command("cleanup")
@click.argument("size")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
@pass_session
def cleanup(session: Session, size: str, dry_run: bool, as_json: bool) -> None:
    """Keep the most recently used SIZE of the cache, and what is pinned; remove the rest now."""
    limit_bytes = parse_size(size)
    with closing(_open(session)) as cache:
        plan = cache.plan_cleanup(limit_bytes)
        count, freed_bytes, kept_bytes = plan.object_count, plan.freed_bytes, plan.kept_bytes
        if not dry_run:
            count, freed_bytes, kept_bytes = cache.cleanup(plan)
    if as_json:
        echo_json({"freed_bytes": freed_bytes, "kept_bytes": kept_bytes, "objects": count})
        return
    verb = "would free" if dry_run else "freed"
    click.echo(f"{verb} {format_size(freed_bytes)} in {counted(count, 'object')}; {format_size(kept_bytes)} kept")
    if kept_bytes > limit_bytes:
        click.echo("  more than that is kept: what is pinned, and what a running mount is writing", err=True)


@command.command("verify")
@json_option
@pass_session
def verify(session: Session, as_json: bool) -> int:
    """Check every object against its digest and remove what is damaged. Exit code 6 if anything was."""
    with closing(_open(session)) as cache, meter("cache verify") as bar:

        def report(done_bytes: int, total_bytes: int) -> None:
            bar.update(phase="checking", files=0, size_bytes=done_bytes, total_bytes=total_bytes)

        found = cache.verify(report)
    if as_json:
        echo_json({"checked": found.checked_count, "damaged": found.damaged_count})
    else:
        click.echo(f"{found.checked_count} objects checked, {found.damaged_count} damaged and removed")
    return EXIT_CODES["damaged"] if found.damaged_count else OK


def _open(session: Session) -> ObjectCache:
    from artfs.assemble import open_cache

    return open_cache(session.config)
