"""Lineage graphs as text, Mermaid and Graphviz's language: complete, once each, and whatever names hold they mean nothing."""

from __future__ import annotations

import re
from html import unescape

import msgspec
import pytest

from artfs.client.drawing.dot import NAME_COLUMNS_MAX, draw_dot
from artfs.client.drawing.mermaid import draw_mermaid
from artfs.client.drawing.shape import cut, plain, width
from artfs.client.drawing.text import draw_text
from artfs.model.lineage import Direction, EdgeKind, RunRef, RunState, VersionRef
from artfs.wire.runs import Edge, LineageGraph, LineageNode, RunRecord

pytestmark = [pytest.mark.falsifies("hostile")]

UP, DOWN = (Direction.UP,), (Direction.DOWN,)
HOSTILE = [
    '"];evil[label="x',
    '\\N \\G \\" \\\\',
    "</font><img src=x>&amp;",
    "--> b; end %% --",
    "`click r0 call alert(1)`#quot;",
    "]]>){|}",
    "名前 ünï",
    "\x1b[31mred\n\u202etxt",
]


def version(text: str, *aliases: str, type: str = "dataset") -> LineageNode:
    return LineageNode(VersionRef.parse(text), type, list(aliases))


def run(id: str, name: str = "", state: RunState = RunState.FINISHED, job_type: str = "") -> RunRecord:
    return RunRecord("p", id, 1, name or id, state, "", job_type, "", {}, {}, 0, "", 0)


def graph(*arrows: str, versions: list[LineageNode] | None = None, runs: list[RunRecord] | None = None) -> LineageGraph:
    """Of arrows like `raw>prepare` and `prepare>clean`; runs are lower case, versions are `a` to `z` names with a digit."""
    named_runs = {r.id: r for r in runs or []}
    named = {str(node.version): node for node in versions or []}
    edges = []
    for arrow in arrows:
        source, target = arrow.split(">")
        name, kind = (target, EdgeKind.USED) if ":" in source else (source, EdgeKind.LOGGED)
        text = f"p/{source if kind is EdgeKind.USED else target}"
        named.setdefault(text, version(text))
        named_runs.setdefault(name, run(name))
        edges.append(Edge(kind, RunRef("p", name), VersionRef.parse(text)))
    return LineageGraph(list(named.values()), list(named_runs.values()), edges)


PIPELINE = graph(
    *("raw:v0>prepare", "prepare>train:v0", "prepare>test:v0", "train:v0>fit", "fit>net:v0", "net:v0>score"),
    *("test:v0>score", "score>report:v0"),
    versions=[version("p/net:v0", "best", "latest", type="model")],
    runs=[run("fit", "night run", RunState.RUNNING, "train"), run("score", state=RunState.FAILED)],
)
REPORT = VersionRef("p", "report", 0)


def test_runs_are_listed_as_they_were_started() -> None:
    starts = {"b": 30, "c": 10, "a": 20}
    started = [msgspec.structs.replace(run(id), created_at_ns=at_ns) for id, at_ns in starts.items()]
    found = graph(*(f"raw:v0>{id}" for id in sorted(starts)), runs=started)
    lines = draw_text(found, VersionRef("p", "raw", 0), DOWN).splitlines()
    assert [word for line in lines for word in line.split() if word.startswith("p/") and ":" not in word] == [
        "p/c",
        "p/a",
        "p/b",
    ]


def test_chains_go_straight_down_forks_are_indented_and_what_is_shared_is_shown_once() -> None:
    assert draw_text(PIPELINE, REPORT, (Direction.UP, Direction.DOWN)).splitlines() == [
        "p/report:v0  dataset",
        "",
        "made from:",
        "↑ p/score  failed",
        "├─ p/net:v0  model  best, latest",
        "│  ↑ night run  p/fit  train  running",
        "│  p/train:v0  dataset",
        "│  ↑ p/prepare  finished",
        "│  p/raw:v0  dataset",
        "└─ p/test:v0  dataset",
        "   ↑ p/prepare  (above)",
        "",
        "led to: nothing yet",
    ]


def test_what_a_version_led_to() -> None:
    assert draw_text(PIPELINE, VersionRef("p", "train", 0), DOWN).splitlines() == [
        "p/train:v0  dataset",
        "",
        "led to:",
        "↓ night run  p/fit  train  running",
        "p/net:v0  model  best, latest",
        "↓ p/score  failed",
        "p/report:v0  dataset",
    ]


def test_a_run_is_a_place_to_start_from_too() -> None:
    lines = draw_text(PIPELINE, RunRef("p", "prepare"), (Direction.UP, Direction.DOWN)).splitlines()
    assert lines[:4] == ["p/prepare  finished", "", "made from:", "p/raw:v0  dataset"]
    assert lines[5:8] == ["led to:", "├─ p/train:v0  dataset", "│  ↓ night run  p/fit  train  running"]


def test_a_version_that_nothing_is_known_of() -> None:
    alone = LineageGraph([version("p/a:v0")], [], [])
    assert draw_text(alone, VersionRef("p", "a", 0), UP).splitlines()[-1] == "made from: nothing that is known"


def test_a_long_chain_of_forks_stays_within_the_width_and_ends() -> None:
    arrows = [a for i in range(400) for a in (f"a:v{i + 1}>r{i}", f"b:v{i + 1}>r{i}", f"r{i}>a:v{i}", f"r{i}>b:v{i}")]
    text = draw_text(graph(*arrows), VersionRef("p", "a", 0), UP)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) == 3 + 400 * 4 - 1
    assert len(set(re.findall(r"p/a:v\d+", text))) == 401


def test_terminals_without_unicode_get_ascii() -> None:
    text = draw_text(PIPELINE, REPORT, UP, ascii=True)
    assert text.isascii()
    assert "|- p/net:v0" in text.replace("|-- ", "|- ")


def test_what_is_left_out_is_told() -> None:
    part = LineageGraph(PIPELINE.versions, PIPELINE.runs, PIPELINE.edges, complete=False)
    assert draw_text(part, REPORT, UP).endswith("(there is more, farther away)")
    assert "there is more, farther away" in draw_dot(part, REPORT)


def test_width_counts_columns_not_characters() -> None:
    assert [width("ab"), width("名前"), width("e\u0301")] == [2, 4, 1]
    assert cut("名前名前", 5) == "名前…"
    assert cut("short", 5) == "short"


@pytest.mark.parametrize("name", HOSTILE)
def test_text_never_holds_what_a_terminal_acts_on(name: str) -> None:
    drawn = draw_text(graph("a:v0>r", runs=[run("r", name)]), RunRef("p", "r"), UP)
    assert all(line.isprintable() for line in drawn.split("\n"))
    assert plain(name) in drawn


def test_mermaid_has_every_node_and_edge_once() -> None:
    lines = draw_mermaid(graph("a:v0>r", "r>b:v1"), VersionRef("p", "b", 1)).splitlines()
    assert lines[:6] == [
        "flowchart LR",
        '  v0("p/a:v0<br/>dataset"):::version',
        '  v1("p/b:v1<br/>dataset"):::version',
        '  r0(["p/r<br/>finished"]):::finished',
        "  v0 --> r0",
        "  r0 --> v1",
    ]
    assert lines[-1] == "  style v1 stroke-width:3px"


@pytest.mark.parametrize("name", HOSTILE)
def test_mermaid_takes_nothing_in_a_name_for_syntax(name: str) -> None:
    line = draw_mermaid(graph("a:v0>r", runs=[run("r", name)]), RunRef("p", "r")).splitlines()[2]
    written = re.fullmatch(r'  r0\(\["([^"]*)<br/>p/r · finished"\]\):::finished', line)
    assert written is not None, line
    assert not set(written[1]) & set('"<>{}[]|`\\%&')
    assert re.sub(r"#(\d+);", lambda code: chr(int(code[1])), written[1]) == plain(name)


def test_dot_says_the_project_once_if_there_is_one() -> None:
    drawn = draw_dot(PIPELINE, REPORT)
    assert 'label="project p";' in drawn
    assert "<B>net:v0</B>" in drawn
    two = LineageGraph([version("p/a:v0"), version("q/a:v0")], [], [])
    assert "<B>q/a:v0</B>" in draw_dot(two, REPORT)


@pytest.mark.parametrize("name", HOSTILE)
def test_dot_takes_nothing_in_a_name_for_syntax(name: str) -> None:
    (line,) = (
        x
        for x in draw_dot(graph("a:v0>r", runs=[run("r", name)]), REPORT).splitlines()
        if "<B>" in x and "ellipse" in x
    )
    tooltip = re.search(r'tooltip="((?:[^"\\]|\\.)*)", label=<<B>([^<>\[\]]*)</B>', line)
    assert tooltip is not None, line
    assert re.sub(r"\\(.)", r"\1", tooltip[1]) == f"{plain(name)} - p/r - finished"
    assert unescape(tooltip[2]).replace("\\\\", "\\") == cut(plain(name), NAME_COLUMNS_MAX)
