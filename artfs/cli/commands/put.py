"""`artfs put`: a directory or file becomes a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.current_run import current_run
from artfs.cli.output import counted, echo_json, version_json
from artfs.cli.progress import meter
from artfs.cli.refs import ArtifactName, artifact_name
from artfs.model.durations import parse_ttl_s
from artfs.model.metadata import parse_metadata
from artfs.model.names import check_alias
from artfs.model.sizes import format_size

if TYPE_CHECKING:
    from artfs.client.put import PutResult
    from artfs.wire.records import SealRequest


@click.command(
    "put",
    epilog="""\b
Examples:
  artfs put -n vision/bikes -t dataset ./bikes
  artfs put -n vision/net -t model net.pt --alias best --metadata '{"f1": 1}'
  artfs put -n vision/nightly ./out --ttl 30d
  artfs put -n vision/raw --reference s3://bucket/raw/
  artfs put -n vision/raw --reference-as README https://host/readme.txt""",
)
@click.argument("path", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("-n", "--name", required=True, metavar="PROJECT/ARTIFACT", help="The artifact; created if it is new.")
@click.option(
    "-t", "--type", "type_", metavar="TYPE", help="The artifact's type, such as dataset (the default) or model."
)
@click.option(
    "-a", "--alias", "aliases", multiple=True, metavar="ALIAS", help="An alias to move besides latest; may be repeated."
)
@click.option("-d", "--description", metavar="TEXT", help="What this version is.")
@click.option("--metadata", metavar="JSON", help="A JSON object to keep with the version.")
@click.option(
    "--ttl", metavar="AGE", help="Delete the version after so long, such as 30d, unless an alias names it then."
)
@click.option(
    "--reference", "uris", multiple=True, metavar="URI", help="Refer to an https:, s3: or file: URI, uncopied."
)
@click.option(
    "--reference-as",
    "named",
    multiple=True,
    nargs=2,
    metavar="PATH URI",
    help="The same, under a path of your choice in the version.",
)
@click.option("--checksum/--no-checksum", default=True, help="Read what has no ETag once, to know its SHA-256.")
@click.option("--max-objects", type=click.IntRange(1), default=10_000, help="Of a directory or prefix referred to.")
@click.option("--xattrs", is_flag=True, help="Keep user.* extended attributes too.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@json_option
@pass_session
def command(
    session: Session,
    path: Path | None,
    name: str,
    type_: str | None,
    aliases: tuple[str, ...],
    description: str | None,
    metadata: str | None,
    uris: tuple[str, ...],
    named: tuple[tuple[str, str], ...],
    checksum: bool,
    max_objects: int,
    ttl: str | None,
    xattrs: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Store a directory or file as a new version; identical content makes none. Only what is new is stored.

    With references instead of PATH, the version refers to what is elsewhere: it is read from there when somebody reads it.
    """
    from artfs.assemble import creator
    from artfs.client.references.put import Referred, put_references
    from artfs.wire.records import NO_ROOT, SealRequest

    target = artifact_name(name)
    for alias in aliases:
        check_alias(alias)
    run = current_run(session)
    request = SealRequest(
        artifact=target.artifact,
        root=NO_ROOT,
        aliases=list(aliases),
        type=type_,
        description=description,
        metadata=None if metadata is None else parse_metadata(metadata),
        created_by=creator(),
        ttl_s=None if ttl is None else parse_ttl_s(ttl),
        run="" if run is None else str(run),
    )
    referred = [*(Referred(uri) for uri in uris), *(Referred(uri, at) for at, uri in named)]
    if (path is None) == (not referred):
        raise click.UsageError("name a PATH to store, or references, and not both")
    if path is None:
        result = put_references(
            session.client, target.project, referred, request, checksum=checksum, max_objects=max_objects
        )
    else:
        result = _put(session, target.project, path, request, xattrs=xattrs, quiet=quiet)
    _tell(result, target, as_json=as_json)


def _put(session: Session, project: str, path: Path, request: SealRequest, *, xattrs: bool, quiet: bool) -> PutResult:
    from artfs.client.put import PutProgress, put

    with meter(f"put {project}/{request.artifact}", quiet=quiet) as bar:

        def report(progress: PutProgress) -> None:
            bar.update(
                phase="storing", files=progress.files, size_bytes=progress.size_bytes, total_bytes=progress.total_bytes
            )

        return put(session.client, project, path, request, xattrs=xattrs, report=report)


def _tell(result: PutResult, target: ArtifactName, *, as_json: bool) -> None:
    version = result.version
    if as_json:
        stored = {"created": result.created, "stored_bytes": result.stored_bytes, "objects": result.object_count}
        echo_json({**version_json(version), **stored})
        return
    content = f"{counted(version.file_count, 'file')}, {format_size(version.size_bytes)}"
    stored_text = f"stored {format_size(result.stored_bytes)} new" if result.created else "identical to what is there"
    click.echo(f"{target}:{version.name}  {content}, {stored_text}  [{', '.join(version.aliases)}]")
