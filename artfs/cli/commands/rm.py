"""`artfs rm`: delete versions, artifacts or projects."""

from __future__ import annotations

import sys
from collections import defaultdict

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json
from artfs.errors import InvalidName, StillAliased
from artfs.model.names import ArtifactRef, version_name
from artfs.model.sizes import format_size
from artfs.wire.records import DeletionPlan
from artfs.wire.service import Registry


@click.command(
    "rm",
    epilog="""\b
Examples:
  artfs rm --dry-run vision/bikes:v3         say what would be freed
  artfs rm vision/bikes:v3 vision/bikes:v4   delete two versions
  artfs rm --delete-aliases vision/bikes:v5  also when aliases point to it
  artfs rm --recursive vision/bikes          delete all versions and the artifact""",
)
@click.argument("refs", nargs=-1, required=True, metavar="PROJECT[/ARTIFACT[:VERSION]]...")
@click.option("--delete-aliases", is_flag=True, help="Delete versions that aliases point to, and those aliases.")
@click.option("-r", "--recursive", is_flag=True, help="Delete an artifact with all its versions, a project with all.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be deleted and freed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_session
def command(
    session: Session,
    refs: tuple[str, ...],
    delete_aliases: bool,
    recursive: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete versions, artifacts or projects; what nothing else holds is gone from the storage when this returns."""
    registry = session.registry
    parsed = [ArtifactRef.parse(ref) for ref in refs]
    plans = [plan for ref in parsed for plan in _plans(registry, ref, recursive=recursive)]
    plans = _merged(registry, plans)
    for plan in plans:
        if plan.aliases and not (delete_aliases or recursive):
            raise StillAliased(
                f"{_versions(plan)} still has aliases: {', '.join(plan.aliases)}",
                hint="remove them first, or use --delete-aliases",
            )
    if dry_run:
        _report(plans, as_json, "would delete")
        return
    if plans and not yes and sys.stdin.isatty() and sys.stderr.isatty():
        _report(plans, False, "about to delete")
        click.confirm("Delete for ever?", abort=True, err=True)
    done = [
        registry.versions.delete(p.project, p.artifact, p.numbers, delete_aliases=delete_aliases or recursive)
        for p in plans
    ]
    _report(done, as_json, "deleted")
    for ref in parsed:
        _delete_container(registry, ref, recursive=recursive)


def _plans(registry: Registry, ref: ArtifactRef, *, recursive: bool) -> list[DeletionPlan]:
    if ref.path:
        raise InvalidName(f"{ref} names a file", hint="versions never change; delete a whole version")
    if ref.artifact is None:
        names = [a.name for a in registry.artifacts.list(ref.project)] if recursive else []
        return [plan for name in names for plan in _all_versions(registry, ref.project, name)]
    if ref.selector is None:
        return _all_versions(registry, ref.project, ref.artifact) if recursive else []
    version = registry.versions.resolve(ref.project, ref.artifact, ref.selector)
    return [registry.versions.plan_delete(ref.project, ref.artifact, [version.number])]


def _all_versions(registry: Registry, project: str, artifact: str) -> list[DeletionPlan]:
    numbers = [v.number for v in registry.versions.list(project, artifact)]
    return [registry.versions.plan_delete(project, artifact, numbers)] if numbers else []


def _merged(registry: Registry, plans: list[DeletionPlan]) -> list[DeletionPlan]:
    """One plan an artifact: what several versions share is freed only when all of them go."""
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for plan in plans:
        numbers[plan.project, plan.artifact].update(plan.numbers)
    if len(numbers) == len(plans):
        return plans
    return [registry.versions.plan_delete(p, a, sorted(chosen)) for (p, a), chosen in numbers.items()]


def _delete_container(registry: Registry, ref: ArtifactRef, *, recursive: bool) -> None:
    if ref.selector is not None:
        return
    if ref.artifact is not None:
        registry.artifacts.delete(ref.project, ref.artifact)
        return
    if recursive:
        for artifact in registry.artifacts.list(ref.project):
            registry.artifacts.delete(ref.project, artifact.name)
    registry.projects.delete(ref.project)


def _versions(plan: DeletionPlan) -> str:
    return f"{plan.project}/{plan.artifact}:" + ",".join(version_name(n) for n in plan.numbers)


def _report(plans: list[DeletionPlan], as_json: bool, verb: str) -> None:
    if as_json:
        echo_json(
            [
                {
                    "project": p.project,
                    "artifact": p.artifact,
                    "versions": [version_name(n) for n in p.numbers],
                    "aliases": p.aliases,
                    "objects": p.object_count,
                    "freed_bytes": p.freed_bytes,
                }
                for p in plans
            ]
        )
        return
    for p in plans:
        freed = f"{p.object_count} objects, {format_size(p.freed_bytes)}"
        click.echo(f"{verb} {_versions(p)}: {freed} that nothing else holds", err=True)
