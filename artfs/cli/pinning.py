"""`artfs cache pin`, `unpin` and `pins`: versions that stay on local disk."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from artfs.cli.commands.prefetch import READ_IN_PLACE
from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import counted, echo_json, echo_table
from artfs.cli.progress import meter
from artfs.cli.refs import resolve_version
from artfs.errors import InvalidValue, NotFound
from artfs.model.digest import Digest
from artfs.model.sizes import format_size
from artfs.wire.records import VersionRecord

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache
    from artfs.client.client import Client
    from artfs.client.prefetch import PinPlan, Prefetched

_AT = " @ "  # between what is pinned and the registry it is of


@click.command("pin")
@click.argument("ref", metavar="PROJECT/ARTIFACT[:ALIAS[/PATH]]")
@click.option("-n", "--dry-run", is_flag=True, help="Only say how large it is, and whether it fits.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@json_option
@pass_session
def pin(session: Session, ref: str, dry_run: bool, quiet: bool, as_json: bool) -> None:
    """Fetch a version, or a part of it, and keep it on local disk until it is unpinned, whatever else is read.

    An alias is pinned as the version that it means now. Interrupted, run it again: what is there is kept.
    """
    from artfs.client.prefetch import Prefetched, Prefetcher, VersionObjects, plan_pin

    version, path = resolve_version(session.registry, ref)
    client = session.client
    if client.cache is None:
        raise InvalidValue(f"{ref} cannot be pinned", hint=READ_IN_PLACE)
    name = _pinned_name(session, version, path)
    objects = VersionObjects(client.objects, version.project, version.root, [path] if client.has_packs else [])
    with meter(f"pin {ref}", quiet=quiet) as bar:
        references = _References(client, client.cache, version, path)
        plan = references.beside(plan_pin(client.cache, name, version.project, objects))
        plan.check()
        done = Prefetched()
        if not dry_run:
            client.cache.pin(name, version.project, (key for key, _ in objects.walk()))

            def report(done: Prefetched) -> None:
                total_bytes = max(plan.size_bytes, done.size_bytes)
                bar.update(phase="fetching", files=done.files, size_bytes=done.size_bytes, total_bytes=total_bytes)

            done = Prefetcher(client.objects, client.cache, version.project).fetch(objects, report)
            references.fetch(name, done)
    what = name.partition(_AT)[0]
    if as_json:
        facts = {"objects": plan.object_count, "size_bytes": plan.size_bytes, "fetched_bytes": done.fetched_bytes}
        echo_json({"pinned": what, "dry_run": dry_run, "lost_objects": done.lost_objects, **facts})
        return
    verb = "would be pinned" if dry_run else "is pinned, but not yet held" if done.lost_objects else "is pinned"
    click.echo(f"{what} {verb}: {counted(plan.object_count, 'object')}, {format_size(plan.size_bytes)}")
    if done.lost_objects:
        lost = counted(done.lost_objects, "object")
        click.echo(f"  {lost} found no room; make some and run this again, or they are kept when next read", err=True)


@click.command("unpin")
@click.argument("ref", metavar="PROJECT/ARTIFACT:VERSION[/PATH]")
@json_option
@pass_session
def unpin(session: Session, ref: str, as_json: bool) -> None:
    """Let a pinned version go again when its time comes. REF is as `artfs cache pins` shows it; an alias will do too."""
    from artfs.assemble import open_cache

    with closing(open_cache(session.config)) as cache:
        pinned = [found.name for found in cache.pinned.list()]
        name = f"{ref}{_AT}{session.config.registry}"
        if name not in pinned:
            name = _pinned_name(session, *resolve_version(session.registry, ref))
        if name not in pinned:
            raise NotFound(f"{ref} is not pinned", hint="artfs cache pins lists what is")
        freed = cache.unpin(name)
    if as_json:
        echo_json({"unpinned": name.partition(_AT)[0], "objects": freed})
    else:
        click.echo(f"{name.partition(_AT)[0]} is no longer pinned; {counted(freed, 'object')} may go")


@click.command("pins")
@json_option
@pass_session
def pins(session: Session, as_json: bool) -> None:
    """List what is pinned, of every registry."""
    from artfs.assemble import open_cache

    with closing(open_cache(session.config)) as cache:
        found = [(*pinned.name.partition(_AT)[::2], pinned) for pinned in cache.pinned.list()]
    if as_json:
        names = ("pinned", "registry", "objects", "held")
        echo_json([dict(zip(names, (ref, at, p.object_count, p.held_count), strict=True)) for ref, at, p in found])
        return
    rows = [(ref, str(p.object_count), str(p.held_count), at) for ref, at, p in found]
    echo_table(("pinned", "objects", "held", "registry"), rows, right=(1, 2))


class _References:
    """What the references in what is to be pinned refer to."""

    def __init__(self, client: Client, cache: ObjectCache, version: VersionRecord, path: tuple[str, ...]) -> None:
        from artfs.client.references.prefetch import pin_of_references, references_in

        self._client = client
        self._cache = cache
        self._project = version.project
        self._entries = [*references_in(client.objects, version.project, Digest(version.root), [path])]
        self._pin = partial(
            pin_of_references, client.objects, client.references.reader, cache, version.project, self._entries
        )

    def beside(self, plan: PinPlan) -> PinPlan:
        """The plan with what they need."""
        pin = self._pin()
        return replace(
            plan,
            object_count=plan.object_count + pin.block_count,
            size_bytes=plan.size_bytes + pin.size_bytes,
            new_bytes=plan.new_bytes + pin.new_bytes,
        )

    def fetch(self, name: str, done: Prefetched) -> None:
        """Pin what is known, fetch what is absent, and pin what became known by that."""
        from artfs.client.references.prefetch import prefetch_references

        self._cache.pin(name, self._project, self._pin().keys)
        reader = self._client.references.reader
        fetched = prefetch_references(self._client.objects, reader, self._project, self._entries)
        self._cache.pin(name, self._project, self._pin().keys)
        done.fetched_bytes += fetched.fetched_reference_bytes
        done.lost_objects += fetched.lost_blocks


def _pinned_name(session: Session, version: VersionRecord, path: tuple[str, ...]) -> str:
    ref = "/".join((f"{version.project}/{version.artifact}:{version.name}", *path))
    return f"{ref}{_AT}{session.config.registry}"
