"""`artfs ls`: projects, artifacts, versions or files, by how much of a reference is given."""

from __future__ import annotations

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import (
    artifact_json,
    echo_json,
    echo_table,
    local_time,
    project_json,
    version_json,
)
from artfs.model.names import ArtifactRef
from artfs.model.sizes import format_size


@click.command(
    "ls",
    epilog="""\b
Examples:
  artfs ls                              projects
  artfs ls vision                       artifacts of a project
  artfs ls vision/bikes                 versions of an artifact
  artfs ls vision/bikes:best            files of a version
  artfs ls -lR vision/bikes:v3/images   everything below a directory""",
)
@click.argument("ref", required=False, metavar="[PROJECT[/ARTIFACT[:ALIAS[/PATH]]]]")
@click.option("-l", "long", is_flag=True, help="Show modes, sizes and times of files, and what references refer to.")
@click.option("-R", "--recursive", is_flag=True, help="List everything below.")
@json_option
@pass_session
def command(session: Session, ref: str | None, long: bool, recursive: bool, as_json: bool) -> None:
    """List projects, artifacts, versions or files."""
    parsed = ArtifactRef.parse(ref) if ref else None
    if parsed is None:
        _projects(session, as_json)
    elif parsed.artifact is None:
        _artifacts(session, parsed.project, as_json)
    elif parsed.selector is None:
        _versions(session, parsed.project, parsed.artifact, as_json)
    else:
        from artfs.cli.file_listing import list_files  # trees are not needed for the rest

        list_files(session, str(parsed), long=long, recursive=recursive, as_json=as_json)


def _projects(session: Session, as_json: bool) -> None:
    projects = session.registry.projects.list()
    if as_json:
        echo_json([project_json(p) for p in projects])
    else:
        for project in projects:
            click.echo(project.name)


def _artifacts(session: Session, project: str, as_json: bool) -> None:
    artifacts = session.registry.artifacts.list(project)
    if as_json:
        echo_json([artifact_json(a) for a in artifacts])
        return
    rows = (
        (a.name, a.type or "-", str(a.version_count), local_time(a.created_at_ns), a.description) for a in artifacts
    )
    echo_table(("artifact", "type", "versions", "created", "description"), rows, right=(2,))


def _versions(session: Session, project: str, artifact: str, as_json: bool) -> None:
    versions = session.registry.versions.list(project, artifact)
    if as_json:
        echo_json([version_json(v) for v in versions])
        return
    rows = (
        (v.name, format_size(v.size_bytes), str(v.file_count), local_time(v.created_at_ns), ", ".join(v.aliases))
        for v in versions
    )
    echo_table(("version", "size", "files", "created", "aliases"), rows, right=(1, 2))
