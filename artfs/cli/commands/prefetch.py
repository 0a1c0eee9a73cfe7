"""`artfs prefetch`: a version, or a part of it, into the cache before it is read."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.exit_codes import EXIT_CODES, OK
from artfs.cli.output import counted, echo_json
from artfs.cli.progress import meter
from artfs.cli.refs import resolve_version
from artfs.model.digest import Digest
from artfs.model.names import split_path
from artfs.model.sizes import format_size

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache
    from artfs.client.prefetch import Prefetched
    from artfs.client.references.prefetch import PrefetchedReferences
    from artfs.wire.records import VersionRecord

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
    from artfs.client.prefetch import Prefetched

    version, path = resolve_version(session.registry, ref)
    client = session.client
    name = f"{version.project}/{version.artifact}:{version.name}"
    parts = [path + split_path(part) for part in paths] or [path]
    done = Prefetched()
    if client.cache is not None and client.has_packs:
        done = _objects(session, client.cache, version, parts, quiet=quiet)
    referred = _references(session, version, parts, quiet=quiet)
    if client.cache is None and not referred.references:
        if as_json:
            echo_json({"version": version.name, "cached": False, **asdict(done), **asdict(referred)})
        else:
            click.echo(f"{name}: {READ_IN_PLACE}")
        return OK
    lost = done.lost_objects + referred.lost_blocks
    if as_json:
        echo_json({"version": version.name, "cached": True, **asdict(done), **asdict(referred)})
    else:
        files = counted(max(done.files, referred.references), "file")
        fetched = format_size(done.fetched_bytes + referred.fetched_reference_bytes)
        click.echo(f"{name}: {files}, {fetched} fetched")
    if lost:
        click.echo(f"artfs: {counted(lost, 'object')} found no room in the cache", err=True)
        click.echo("  hint: raise cache_size, free some of its disk, or prefetch less", err=True)
        return EXIT_CODES["storage-full"]
    return OK


def _objects(
    session: Session, cache: ObjectCache, version: VersionRecord, parts: list[tuple[str, ...]], *, quiet: bool
) -> Prefetched:
    """Trees, contents, and descriptors of references."""
    from artfs.client.prefetch import Prefetcher, VersionObjects

    source = session.client.objects
    objects = VersionObjects(source, version.project, version.root, parts)
    total_bytes = objects.check() if all(parts) else version.size_bytes
    with meter(f"prefetch {version.artifact}:{version.name}", quiet=quiet) as bar:

        def report(done: Prefetched) -> None:
            bar.update(phase="fetching", files=done.files, size_bytes=done.size_bytes, total_bytes=total_bytes)

        return Prefetcher(source, cache, version.project).fetch(objects, report)


def _references(
    session: Session, version: VersionRecord, parts: list[tuple[str, ...]], *, quiet: bool
) -> PrefetchedReferences:
    """What references refer to."""
    from artfs.client.references.prefetch import prefetch_references, references_in

    client = session.client
    entries = references_in(client.objects, version.project, Digest(version.root), parts)
    with meter(f"prefetch references of {version.artifact}:{version.name}", quiet=quiet) as bar:

        def report(done: PrefetchedReferences) -> None:
            bar.update(phase="fetching", files=done.references, size_bytes=done.fetched_reference_bytes)

        return prefetch_references(client.objects, client.references.reader, version.project, entries, report)
