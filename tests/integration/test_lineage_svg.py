"""Drawing lineage with the real Graphviz: well-formed, complete, readable, and safe whatever names hold."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from artfs.client.drawing.dot import draw_dot
from artfs.client.drawing.shape import plain
from artfs.client.drawing.svg import draw_svg
from artfs.errors import MachineNotReady
from artfs.model.lineage import VersionRef
from tests.unit.client.test_drawing import HOSTILE, PIPELINE, REPORT, graph, run

pytestmark = [pytest.mark.falsifies("hostile")]

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_node_is_drawn_with_its_name_and_every_edge() -> None:
    svg = draw_svg(draw_dot(PIPELINE, REPORT))
    assert {"raw:v0", "net:v0", "model · best, latest", "night run", "fit · train · running", "report:v0"} <= set(
        texts(svg)
    )
    classes = [element.get("class") for element in ElementTree.fromstring(svg).iter(f"{SVG}g")]
    assert (classes.count("node"), classes.count("edge")) == (8, 8)


def test_text_lies_within_the_drawing_and_nodes_do_not_overlap() -> None:
    svg = ElementTree.fromstring(draw_svg(draw_dot(PIPELINE, REPORT)))
    _, _, wide, high = map(float, str(svg.get("viewBox")).split())
    boxes = []
    for node in (element for element in svg.iter(f"{SVG}g") if element.get("class") == "node"):
        for ellipse in node.iter(f"{SVG}ellipse"):
            cx, cy, rx, ry = (float(str(ellipse.get(name))) for name in ("cx", "cy", "rx", "ry"))
            boxes.append((cx - rx, cy - ry, cx + rx, cy + ry))
    assert len(boxes) == 3
    assert all(0 <= x0 < x1 <= wide and -high <= y0 < y1 <= 0 for x0, y0, x1, y1 in boxes)
    assert all(a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1] for a in boxes for b in boxes if a is not b)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_text(name: str) -> None:
    drawn = draw_svg(draw_dot(graph("a:v0>r", "r>b:v0", runs=[run("r", name)]), VersionRef("p", "b", 0)))
    assert " ".join(plain(name).split()) in [" ".join(text.replace("\xa0", " ").split()) for text in texts(drawn)]
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(drawn).iter()}
    assert tags <= {"svg", "g", "title", "polygon", "path", "ellipse", "text", "a"}


def test_a_machine_without_graphviz_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineNotReady) as raised:
        draw_svg("digraph {}")
    assert "apt-get install graphviz" in raised.value.hint
