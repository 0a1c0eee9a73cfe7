"""What every format of a lineage graph needs: its nodes, who is next to whom, and what is said of each. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from artfs.model.lineage import Direction, EdgeKind, RunRef, VersionRef
from artfs.wire.runs import LineageGraph, LineageNode, RunRecord

Ref = VersionRef | RunRef


class Label(NamedTuple):
    """`name` says which node it is, `notes` what else is known of it, to be set apart. One line each, printable."""

    name: str
    notes: Sequence[str]


class Shape:
    """A graph by its nodes. Nodes without an entry of their own are not drawn, nor are their edges."""

    def __init__(self, graph: LineageGraph) -> None:
        self.versions = {node.version: node for node in graph.versions}
        self.runs = {run.ref: run for run in graph.runs}
        self.edges = [edge for edge in graph.edges if edge.version in self.versions and edge.run in self.runs]
        self._near: dict[Direction, dict[Ref, list[Ref]]] = {Direction.UP: {}, Direction.DOWN: {}}
        for edge in self.edges:
            pair: tuple[Ref, Ref] = (edge.run, edge.version)
            source, target = pair if edge.kind is EdgeKind.LOGGED else pair[::-1]
            self._near[Direction.DOWN].setdefault(source, []).append(target)
            self._near[Direction.UP].setdefault(target, []).append(source)

    def near(self, node: Ref, direction: Direction) -> list[Ref]:
        """Where the edges of a node lead: up to what it came from, down to what came from it. Runs as they were started."""
        found = self._near[direction].get(node, [])
        return sorted(found, key=lambda ref: self.runs[ref].created_at_ns if isinstance(ref, RunRef) else 0)

    @property
    def project(self) -> str:
        """The project that all nodes are in; empty if there are several."""
        projects = {ref.project for ref in self.versions} | {ref.project for ref in self.runs}
        return projects.pop() if len(projects) == 1 else ""

    def label(self, node: Ref, without: str = "") -> Label:
        """What to write of a node; `without` is a project that need not be said."""
        if isinstance(node, VersionRef):
            return version_label(self.versions[node], without)
        return run_label(self.runs[node], without)


def version_label(node: LineageNode, without: str = "") -> Label:
    aliases = ", ".join(map(plain, node.aliases))
    return Label(_name(node.version, without), [plain(node.type), *([aliases] if aliases else [])])


def run_label(run: RunRecord, without: str = "") -> Label:
    """A run that was given a name goes by it; its id says which it is."""
    named = run.name != run.id
    notes = [_name(run.ref, without)] if named else []
    notes += [plain(run.job_type)] if run.job_type else []
    return Label(plain(run.name) if named else _name(run.ref, without), [*notes, run.state.value])


def _name(ref: Ref, without: str) -> str:
    return plain(str(ref).removeprefix(f"{without}/") if without else str(ref))


def plain(text: str) -> str:
    """`text` with a replacement for everything that would not print as itself: controls, escapes, changes of direction."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def width(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, columns: int) -> str:
    """`text`, shortened at its end to at most so many columns."""
    if width(text) <= columns:
        return text
    kept = ""
    for character in text:
        if width(kept + character) > columns - 1:
            break
        kept += character
    return kept + "…" if columns > 0 else ""
