"""A lineage graph for Graphviz. Pure.

Labels are Graphviz's HTML-like ones, of which only text comes from outside, escaped as in XML; nodes have numbers for names.
https://graphviz.org/doc/info/shapes.html#html
"""

from __future__ import annotations

from html import escape

from artfs.client.drawing.shape import Label, Ref, Shape, cut
from artfs.model.lineage import EdgeKind, RunRef, RunState
from artfs.wire.runs import LineageGraph

NAME_COLUMNS_MAX = 44  # of what is written in a node; all of it is in the tooltip
_FONT = "Helvetica,Arial,sans-serif"
_TEXT, _NOTES, _LINE = "#1f2937", "#4b5563", "#6b7280"
_VERSION = ("#e8f0fe", "#3b6fb6")  # fill and border
_RUNS = {
    RunState.FINISHED: ("#e6f4ea", "#3a8a4d"),
    RunState.RUNNING: ("#fff6dd", "#b98a1b"),
    RunState.FAILED: ("#fde7e7", "#c0392b"),
}
_HEAD = f"""\
digraph lineage {{
  graph [rankdir=LR, bgcolor=white, pad=0.3, nodesep=0.35, ranksep=0.45, labelloc=t, labeljust=l];
  graph [fontname="{_FONT}", fontsize=11, fontcolor="{_NOTES}"];
  node [fontname="{_FONT}", fontsize=13, fontcolor="{_TEXT}"];
  node [shape=box, style="rounded,filled", margin="0.18,0.1", penwidth=1.2];
  edge [color="{_LINE}", arrowsize=0.7, penwidth=1.1];"""


def draw_dot(graph: LineageGraph, start: Ref) -> str:
    """The graph from left to right: versions as boxes, runs as ellipses coloured by state, `start` with a thick border."""
    shape = Shape(graph)
    refs: list[Ref] = [*shape.versions, *shape.runs]
    ids = {ref: f"n{i}" for i, ref in enumerate(refs)}
    lines = [_HEAD]
    lines += [f"  {ids[ref]} [{_node(shape, ref, thick=ref == start)}];" for ref in refs]
    for edge in shape.edges:
        run, version = ids[edge.run], ids[edge.version]
        source, target = (run, version) if edge.kind is EdgeKind.LOGGED else (version, run)
        lines.append(f"  {source} -> {target};")
    notes = [
        f"project {shape.project}" if shape.project else "",
        "" if graph.complete else "there is more, farther away",
    ]
    lines.append(f"  label={_quoted(' - '.join(note for note in notes if note))};")
    return "\n".join([*lines, "}"])


def _node(shape: Shape, ref: Ref, *, thick: bool) -> str:
    label = shape.label(ref, shape.project)
    if isinstance(ref, RunRef):
        fill, border = _RUNS[shape.runs[ref].state]
        form = 'shape=ellipse, style=filled, margin="0.08,0.06", '
    else:
        (fill, border), form = _VERSION, ""
    whole = shape.label(ref)
    about = _quoted(" - ".join([whole.name, *whole.notes]))
    width = ", penwidth=2.6" if thick else ""
    return f'{form}fillcolor="{fill}", color="{border}"{width}, tooltip={about}, label=<{_html(label)}>'


def _html(label: Label) -> str:
    name = f"<B>{_xml(cut(label.name, NAME_COLUMNS_MAX))}</B>"
    notes = _xml(cut(" · ".join(label.notes), NAME_COLUMNS_MAX))
    return f'{name}<BR/><FONT POINT-SIZE="10.5" COLOR="{_NOTES}">{notes}</FONT>' if notes else name


def _xml(text: str) -> str:
    """Text in an HTML-like label, where Graphviz knows backslashes too; what XML cannot hold was replaced before."""
    return escape(text.replace("\\", "\\\\"), quote=True).replace("[", "&#91;").replace("]", "&#93;")


def _quoted(text: str) -> str:
    """A double-quoted string in which no escape of Graphviz's has a meaning."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
