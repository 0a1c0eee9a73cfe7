"""`artfs get`: a version becomes files in a directory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.current_run import note_used
from artfs.cli.output import counted, echo_json
from artfs.cli.progress import meter
from artfs.cli.refs import resolve_version
from artfs.model.digest import Digest
from artfs.model.sizes import format_size
from artfs.model.tree import EntryKind


@click.command(
    "get",
    epilog="""\b
Examples:
  artfs get vision/bikes:best --root ./bikes
  artfs get vision/bikes:v3/images/1.png --root .
  artfs get vision/bikes                         into ./artifacts/bikes:vN""",
)
@click.argument("ref", metavar="PROJECT/ARTIFACT[:ALIAS[/PATH]]")
@click.option("--root", type=click.Path(path_type=Path), help="Where to; the default is ./artifacts/NAME:vN.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@json_option
@pass_session
def command(session: Session, ref: str, root: Path | None, quiet: bool, as_json: bool) -> None:
    """Write a version, or a part of it, to a directory. Only what is missing or different is written."""
    from artfs.client.get import GetResult, Getter, default_root
    from artfs.client.trees import TreeReader

    version, path = resolve_version(session.registry, ref)
    target = root or default_root(version)
    source = session.client.objects
    tree = Digest(version.root)
    found = TreeReader(source, version.project).lookup(tree, path) if path else None
    with meter(f"get {ref}", quiet=quiet) as bar:

        def report(result: GetResult) -> None:
            total = version.size_bytes if found is None else found.entry.size_bytes
            bar.update(phase="writing", files=result.files, size_bytes=result.size_bytes, total_bytes=total)

        getter = Getter(source, version.project, report)
        if found is None or found.entry.kind is EntryKind.DIRECTORY:
            result = getter.get_tree(tree if found is None else found.entry.digest, target)
        else:
            result = getter.get_entry(found, target)
    note_used(session, version)
    if as_json:
        echo_json({"version": version.name, "root": str(target), **asdict(result)})
        return
    written = f"{result.files_written} written ({format_size(result.bytes_written)})"
    click.echo(
        f"{target}: {version.project}/{version.artifact}:{version.name}, {counted(result.files, 'file')}, {written}"
    )
