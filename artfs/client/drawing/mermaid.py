"""A lineage graph for Mermaid, which GitHub, GitLab and many wikis draw. Pure.

Text is put in quotes with everything but letters, digits and a few harmless signs as character codes, so that nothing in a name
is taken for syntax. https://mermaid.js.org/syntax/flowchart.html
"""

from __future__ import annotations

from artfs.client.drawing.shape import Label, Ref, Shape
from artfs.model.lineage import EdgeKind, RunRef, RunState
from artfs.wire.runs import LineageGraph

_HARMLESS = frozenset(" -_./:,()·")
_CLASSES = {
    "version": "fill:#e8f0fe,stroke:#3b6fb6,color:#1f2937",
    RunState.FINISHED.value: "fill:#e6f4ea,stroke:#3a8a4d,color:#1f2937",
    RunState.RUNNING.value: "fill:#fff6dd,stroke:#b98a1b,color:#1f2937",
    RunState.FAILED.value: "fill:#fde7e7,stroke:#c0392b,color:#1f2937",
}


def draw_mermaid(graph: LineageGraph, start: Ref) -> str:
    """The graph from left to right, `start` with a thick border."""
    shape = Shape(graph)
    ids: dict[Ref, str] = {ref: f"v{i}" for i, ref in enumerate(shape.versions)}
    ids.update({ref: f"r{i}" for i, ref in enumerate(shape.runs)})
    lines = ["flowchart LR"]
    for node, name in ids.items():
        text = _text(shape.label(node))
        if isinstance(node, RunRef):
            lines.append(f'  {name}(["{text}"]):::{shape.runs[node].state.value}')
        else:
            lines.append(f'  {name}("{text}"):::version')
    for edge in shape.edges:
        run, version = ids[edge.run], ids[edge.version]
        lines.append(f"  {run} --> {version}" if edge.kind is EdgeKind.LOGGED else f"  {version} --> {run}")
    lines += [f"  classDef {name} {style}" for name, style in _CLASSES.items()]
    if start in ids:
        lines.append(f"  style {ids[start]} stroke-width:3px")
    return "\n".join(lines)


def _text(label: Label) -> str:
    return "<br/>".join(_escaped(line) for line in (label.name, " · ".join(label.notes)) if line)


def _escaped(text: str) -> str:
    return "".join(c if c.isalnum() or c in _HARMLESS else f"#{ord(c)};" for c in text)
