"""`artfs lineage`: what a version was made from, and what was made from it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from artfs.cli.context import Session, pass_session
from artfs.cli.refs import resolve_version
from artfs.errors import InvalidValue, StorageFailed
from artfs.model.lineage import Direction, RunRef, VersionRef
from artfs.wire.runs import LineageGraph
from artfs.wire.service import GRAPH_NODES_MAX

FORMATS = ("text", "json", "mermaid", "dot", "svg")
_BY_SUFFIX = {
    "": "text",
    ".txt": "text",
    ".json": "json",
    ".mmd": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
    ".svg": "svg",
}


def _format_of(output: Path | None) -> str:
    """What a file's name says. Raises InvalidValue."""
    suffix = "" if output is None else output.suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise InvalidValue(f"{suffix!r} tells no format that lineage has", hint=f"--format {'|'.join(FORMATS)}")
    return _BY_SUFFIX[suffix]


@click.command(
    "lineage",
    epilog="""\b
Examples:
  artfs lineage vision/net:best
  artfs lineage vision/raw:v3 --down
  artfs lineage --run vision/k3x9a2b1
  artfs lineage vision/net:best -o net.svg""",
)
@click.argument("ref", required=False, metavar="PROJECT/ARTIFACT[:VERSION]")
@click.option("--run", metavar="PROJECT/RUN", help="Start from a run instead of a version.")
@click.option("--up", is_flag=True, help="Only what it was made from.")
@click.option("--down", is_flag=True, help="Only what was made from it.")
@click.option("--depth", type=click.IntRange(min=1), default=GRAPH_NODES_MAX, metavar="N", help="At most N edges away.")
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Default: text, or what OUTPUT's name says.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file instead of stdout."
)
@pass_session
def command(
    session: Session,
    ref: str | None,
    run: str | None,
    up: bool,
    down: bool,
    depth: int,
    format_: str | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Show which runs and versions a version came from, and which came from it."""
    direction = Direction.BOTH if up == down else Direction.UP if up else Direction.DOWN
    chosen = "json" if as_json else format_ or _format_of(output)
    start, graph = _graph(session, ref, run, direction, depth)
    text = _drawn(graph, start, direction, chosen, to_terminal=output is None)
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageFailed(f"cannot write {output}: {error.strerror}") from None


def _graph(
    session: Session, ref: str | None, run: str | None, direction: Direction, depth: int
) -> tuple[VersionRef | RunRef, LineageGraph]:
    if (ref is None) == (run is None):
        raise InvalidValue("name either a version or --run", hint="artfs lineage PROJECT/ARTIFACT:VERSION")
    if run is not None:
        from artfs.client.lineage import graph_of_run

        start = RunRef.parse(run)
        return start, graph_of_run(session.registry, start, direction, depth)
    assert ref is not None
    version, path = resolve_version(session.registry, ref)
    if path:
        raise InvalidValue(f"{ref!r} names a path", hint="lineage is of whole versions")
    found = VersionRef(version.project, version.artifact, version.number)
    graph = session.registry.lineage.graph(
        found.project, found.artifact, found.number, direction=direction, depth=depth
    )
    return found, graph


def _drawn(
    graph: LineageGraph, start: VersionRef | RunRef, direction: Direction, format_: str, *, to_terminal: bool
) -> str:
    if format_ == "json":
        return msgspec.json.format(msgspec.json.encode(_as_json(graph)), indent=2).decode()
    if format_ == "mermaid":
        from artfs.client.drawing.mermaid import draw_mermaid

        return draw_mermaid(graph, start)
    if format_ in ("dot", "svg"):
        from artfs.client.drawing.dot import draw_dot
        from artfs.client.drawing.svg import draw_svg

        dot = draw_dot(graph, start)
        return dot if format_ == "dot" else draw_svg(dot)
    from artfs.client.drawing.text import draw_text

    directions = (Direction.UP, Direction.DOWN) if direction is Direction.BOTH else (direction,)
    columns = shutil.get_terminal_size().columns if to_terminal and sys.stdout.isatty() else None
    ascii_ = to_terminal and (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    return draw_text(graph, start, directions, columns=columns, ascii=ascii_)


def _as_json(graph: LineageGraph) -> dict[str, Any]:
    return {
        "versions": [{"version": str(n.version), "type": n.type, "aliases": n.aliases} for n in graph.versions],
        "runs": [
            {"run": str(r.ref), "name": r.name, "state": r.state.value, "group": r.group, "job_type": r.job_type}
            for r in graph.runs
        ],
        "edges": [{"kind": e.kind.value, "run": str(e.run), "version": str(e.version)} for e in graph.edges],
        "complete": graph.complete,
    }
