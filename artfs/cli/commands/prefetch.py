"""`artfs prefetch`: a version, or a part of it, into the cache before it is read."""

from __future__ import annotations

from dataclasses import asdict

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.exit_codes import EXIT_CODES, OK
from artfs.cli.output import counted, echo_json
from artfs.cli.progress import meter
from artfs.cli.refs import resolve_version
from artfs.model.names import split_path
from artfs.model.sizes import format_size

READ_IN_PLACE = 'nothing to do: a registry in a directory is read in place (cache = "always" has it cached)'


@click.command(
    "prefetch",
    epilog="""\b
Examples:
  artfs prefetch vision/bikes:best
  artfs prefetch vision/bikes:v3/images
  artfs prefetch vision/bikes images labels/train.csv""",
)
@click.argument("ref", metavar="PROJECT/ARTIFACT[:ALIAS[/PATH]]")
@click.argument("paths", metavar="[PATH...]", nargs=-1)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@json_option
@pass_session
def command(session: Session, ref: str, paths: tuple[str, ...], quiet: bool, as_json: bool) -> int:
    """Fetch a version, or only PATHs in it, into the cache. What is there already is skipped: run it again to go on.

    Exit code 7 if the cache could not keep all of it.
    """
    from artfs.client.prefetch import Prefetched, Prefetcher, VersionObjects

    version, path = resolve_version(session.registry, ref)
    client = session.client
    name = f"{version.project}/{version.artifact}:{version.name}"
    if client.cache is None:
        if as_json:
            echo_json({"version": version.name, "cached": False, **asdict(Prefetched())})
        else:
            click.echo(f"{name}: {READ_IN_PLACE}")
        return OK
    parts = [path + split_path(part) for part in paths] or [path]
    objects = VersionObjects(client.objects, version.project, version.root, parts)
    total_bytes = objects.check() if all(parts) else version.size_bytes
    with meter(f"prefetch {ref}", quiet=quiet) as bar:

        def report(done: Prefetched) -> None:
            bar.update(phase="fetching", files=done.files, size_bytes=done.size_bytes, total_bytes=total_bytes)

        done = Prefetcher(client.objects, client.cache, version.project).fetch(objects, report)
    if as_json:
        echo_json({"version": version.name, "cached": True, **asdict(done)})
    else:
        click.echo(f"{name}: {counted(done.files, 'file')}, {format_size(done.fetched_bytes)} fetched")
    if done.lost_objects:
        click.echo(f"artfs: {done.lost_objects} objects found no room in the cache", err=True)
        click.echo("  hint: raise cache_size, free some of its disk, or prefetch less", err=True)
        return EXIT_CODES["storage-full"]
    return OK
