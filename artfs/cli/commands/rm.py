"""`artfs rm`: delete versions, artifacts or projects, by name, pattern, age, or because no alias means them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import counted, echo_json
from artfs.cli.progress import Meter, meter
from artfs.client.removal import Criteria, Target, look_up, plan_removal
from artfs.errors import StillAliased
from artfs.model.durations import parse_duration_s
from artfs.model.names import version_name
from artfs.model.sizes import format_size
from artfs.wire.deletions import ArtifactRemoval, Removal, RemovalPlan
from artfs.wire.records import VersionRecord
from artfs.wire.service import Registry

SLICE_VERSIONS = 500  # between two words of progress
NAMED_MAX = 10  # versions of an artifact that are named one by one


@click.command(
    "rm",
    epilog="""\b
Examples:
  artfs rm --dry-run vision/bikes:v3         say what would be freed
  artfs rm vision/bikes:v3 vision/bikes:v4   delete two versions
  artfs rm --delete-aliases vision/bikes:v5  also when aliases point to it
  artfs rm --unaliased vision/bikes          the versions without any alias
  artfs rm 'vision/bikes:v1*'                v1, v10, v11, ...
  artfs rm --recursive 'vision/exp-*'        artifacts with all their versions
Of each artifact old versions, but never the newest three:
  artfs rm --older-than 30d --keep 3 'vision/*'""",
)
@click.argument("refs", nargs=-1, required=True, metavar="PROJECT[/ARTIFACT[:VERSION]]...")
@click.option("--unaliased", is_flag=True, help="Only versions that no alias points to.")
@click.option("--older-than", metavar="AGE", help="Only versions made at least so long ago, such as 30d or 12h.")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Of each artifact, spare the newest N versions.")
@click.option("--delete-aliases", is_flag=True, help="Delete versions that aliases point to, and those aliases.")
@click.option("-r", "--recursive", is_flag=True, help="Delete an artifact with all its versions, a project with all.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be deleted, and how many bytes it would free.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@json_option
@pass_session
def command(
    session: Session,
    refs: tuple[str, ...],
    unaliased: bool,
    older_than: str | None,
    keep: int | None,
    delete_aliases: bool,
    recursive: bool,
    dry_run: bool,
    yes: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Delete versions, artifacts or projects; what nothing else holds is gone from the storage when this returns."""
    from artfs.assemble import asked_anew

    targets = [Target.parse(ref) for ref in refs]
    age_s = None if older_than is None else parse_duration_s(older_than)
    criteria = Criteria(unaliased, age_s, keep)
    registry = session.registry
    listing = look_up(asked_anew(registry), targets, criteria)
    choice = plan_removal(
        targets, listing, criteria, time.time_ns(), recursive=recursive, delete_aliases=delete_aliases
    )
    plans = [
        (removal, registry.versions.plan_removal(project, removal)) for project, removal in choice.removals.items()
    ]
    for removal, plan in plans:
        _refuse_aliased(removal, plan)
    _tell_spared(choice.spared)
    if dry_run:
        _report([plan for _, plan in plans], as_json, "would delete")
        return
    if not yes and sys.stdin.isatty() and sys.stderr.isatty() and any(_is_something(plan) for _, plan in plans):
        _report([plan for _, plan in plans], False, "about to delete")
        click.confirm("Delete for ever?", abort=True, err=True)
    with meter("rm", quiet=quiet, noun="versions") as bar:
        done = [_delete(registry, removal, plan, bar, recursive=recursive) for removal, plan in plans]
    _report(done, as_json, "deleted")


def _refuse_aliased(removal: Removal, plan: RemovalPlan) -> None:
    """Raises StillAliased before anything is deleted."""
    for one in plan.artifacts:
        if one.aliases and not one.is_whole and not removal.delete_aliases:
            raise StillAliased(
                f"{plan.project}/{one.artifact}:{_numbers(one)} still has aliases: {', '.join(one.aliases)}",
                hint="remove them first, or use --delete-aliases",
            )


def _delete(registry: Registry, removal: Removal, plan: RemovalPlan, bar: Meter, *, recursive: bool) -> RemovalPlan:
    """Delete, in slices if it is much. What may only go if it is empty goes by the calls that insist on that."""
    if not recursive:
        for artifact in removal.artifacts:
            registry.artifacts.delete(plan.project, artifact)
        if removal.whole_project:
            registry.projects.delete(plan.project)
            return plan
        removal = Removal(removal.versions, delete_aliases=removal.delete_aliases)
    if sum(map(len, removal.versions.values())) <= SLICE_VERSIONS:
        bar.update(phase="deleting", files=0, size_bytes=0)
        done = registry.versions.remove(plan.project, removal)
        return done if recursive else RemovalPlan(plan.project, plan.artifacts, done.object_count, done.freed_bytes)
    objects = freed_bytes = versions = 0
    for part, is_last in _slices(removal):
        done = registry.versions.remove(plan.project, part, clean=is_last)
        objects, freed_bytes = objects + done.object_count, freed_bytes + done.freed_bytes
        versions += done.version_count
        phase = "deleting" if not is_last else "cleaning up"
        bar.update(phase=phase, files=versions, size_bytes=freed_bytes, total_bytes=plan.freed_bytes)
    return RemovalPlan(plan.project, plan.artifacts, objects, freed_bytes)


def _slices(removal: Removal) -> Iterator[tuple[Removal, bool]]:
    """A large removal in parts: versions, some at a time, and at last whole artifacts, or nothing, which cleans."""
    for artifact, numbers in removal.versions.items():
        for i in range(0, len(numbers), SLICE_VERSIONS):
            part = {artifact: numbers[i : i + SLICE_VERSIONS]}
            yield Removal(part, delete_aliases=removal.delete_aliases), False
    yield Removal(artifacts=removal.artifacts), True


def _is_something(plan: RemovalPlan) -> bool:
    return bool(plan.artifacts) or plan.whole_project


def _tell_spared(spared: list[VersionRecord]) -> None:
    for version in spared[:NAMED_MAX]:
        name = f"{version.project}/{version.artifact}:{version.name}"
        click.echo(f"keeping {name}: it has aliases ({', '.join(version.aliases)})", err=True)
    if len(spared) > NAMED_MAX:
        click.echo(f"keeping {len(spared) - NAMED_MAX} more with aliases", err=True)


def _numbers(one: ArtifactRemoval) -> str:
    """`v1,v2`, or how many when there are many."""
    if len(one.numbers) <= NAMED_MAX:
        return ",".join(map(version_name, one.numbers))
    return f"{version_name(one.numbers[0])}..{version_name(one.numbers[-1])} ({len(one.numbers)} versions)"


def _report(plans: list[RemovalPlan], as_json: bool, verb: str) -> None:
    if as_json:
        echo_json([_plan_json(plan) for plan in plans])
        return
    if not any(_is_something(plan) for plan in plans):
        click.echo("nothing to delete", err=True)
    for plan in plans:
        for one in plan.artifacts:
            whole = ", the artifact" if one.is_whole else ""
            versions = f":{_numbers(one)}" if one.numbers else ""
            click.echo(f"{verb} {plan.project}/{one.artifact}{versions}{whole}", err=True)
        if plan.whole_project:
            click.echo(f"{verb} the project {plan.project}", err=True)
        if _is_something(plan):
            size = f"{format_size(plan.freed_bytes)} ({plan.freed_bytes} bytes)"
            click.echo(f"  {counted(plan.object_count, 'object')}, {size} that nothing else holds", err=True)


def _plan_json(plan: RemovalPlan) -> dict[str, Any]:
    """`versions` and `aliases` carry the artifact's name unless there is only one."""
    single = len(plan.artifacts) == 1
    prefix = {one.artifact: "" if single else f"{one.artifact}:" for one in plan.artifacts}
    return {
        "project": plan.project,
        "artifact": plan.artifacts[0].artifact if single else None,
        "versions": [prefix[one.artifact] + version_name(n) for one in plan.artifacts for n in one.numbers],
        "aliases": [prefix[one.artifact] + alias for one in plan.artifacts for alias in one.aliases],
        "artifacts": [one.artifact for one in plan.artifacts if one.is_whole],
        "whole_project": plan.whole_project,
        "objects": plan.object_count,
        "freed_bytes": plan.freed_bytes,
    }
