"""A lineage graph as lines of text: what a node came from, above all; what came from it, below. Pure.

A chain goes straight down; only where it forks are lines indented. A node that several ways lead to is shown whole once, and
elsewhere as `(above)`. Runs have an arrow before them: ↑ to what they read, ↓ to what they made.
"""

from __future__ import annotations

from collections.abc import Iterator

from artfs.client.drawing.shape import Ref, Shape, cut, width
from artfs.model.lineage import Direction, RunRef
from artfs.wire.runs import LineageGraph

WIDTH = 80
DEPTH_COLUMNS_MAX = 48  # of indentation; deeper forks are not indented further
_ARROWS = {Direction.UP: "↑ ", Direction.DOWN: "↓ "}
_TITLES = {Direction.UP: "made from", Direction.DOWN: "led to"}
_NOTHING = {Direction.UP: "nothing that is known", Direction.DOWN: "nothing yet"}
_ASCII = str.maketrans({"├": "|", "└": "`", "─": "-", "│": "|", "↑": "^", "↓": "v", "…": "~", "·": "-"})


def draw_text(
    graph: LineageGraph,
    start: Ref,
    directions: tuple[Direction, ...],
    *,
    columns: int | None = WIDTH,
    ascii: bool = False,
) -> str:
    """The graph as seen from `start`.

    Args:
        columns: no line is wider; None for any width.
        ascii: for terminals that show nothing else.
    """
    lines = list(_lines(Shape(graph), start, directions, columns))
    if not graph.complete:
        lines.append("(there is more, farther away)")
    text = "\n".join(lines)
    return text.translate(_ASCII).encode("ascii", "replace").decode() if ascii else text


def _lines(shape: Shape, start: Ref, directions: tuple[Direction, ...], columns: int | None) -> Iterator[str]:
    yield _line(shape, start, "", "", columns)
    for direction in directions:
        yield ""
        nodes = shape.near(start, direction)
        if not nodes:
            yield f"{_TITLES[direction]}: {_NOTHING[direction]}"
            continue
        yield f"{_TITLES[direction]}:"
        yield from _below(shape, start, direction, columns)


def _below(shape: Shape, start: Ref, direction: Direction, columns: int | None) -> Iterator[str]:
    """All that is beyond `start`, without recursion: chains may be long."""
    shown = {start}
    waiting: list[tuple[Ref, str, str]] = []  # node, what is before it on its line, what is before the lines below it

    def fork(nodes: list[Ref], before: str) -> None:
        if len(nodes) == 1:
            waiting.append((nodes[0], before, before))
            return
        deep = width(before) >= DEPTH_COLUMNS_MAX
        for i, node in reversed(list(enumerate(nodes))):
            last = i == len(nodes) - 1
            first, rest = ("└─ ", "   ") if last else ("├─ ", "│  ")
            waiting.append((node, before + first, before if deep else before + rest))

    fork(shape.near(start, direction), "")
    while waiting:
        node, before, rest = waiting.pop()
        arrow = _ARROWS[direction] if isinstance(node, RunRef) else ""
        if node in shown:
            yield _line(shape, node, before + arrow, "(above)", columns)
            continue
        yield _line(shape, node, before + arrow, "", columns)
        shown.add(node)
        fork(shape.near(node, direction), rest)


def _line(shape: Shape, node: Ref, before: str, after: str, columns: int | None) -> str:
    label = shape.label(node)
    text = before + "  ".join([label.name, *([after] if after else label.notes)])
    return text if columns is None else cut(text, columns)
