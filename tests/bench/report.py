"""The result as a table in Markdown, from the JSON that is written beside it."""

from __future__ import annotations

from typing import Any

HEAD = (
    "| # | what | artfs (spread) | at least | aim | beside it, in the same run (artfs is so many times better) | counts |",
    "|---|---|---|---|---|---|---|",
)


def table(result: dict[str, Any]) -> str:
    """The whole report."""
    lines = [*_heading(result), *HEAD]
    lines += [_line(case) for case in result["cases"]]
    lines += ["", *(f"- Row {row} failed: {why}" for row, why in result["failed_rows"].items())]
    for case in result["cases"]:
        lines += [f"- {case['row']}, {case['what']}: {note}" for note in case["notes"]]
    return "\n".join(lines).rstrip() + "\n"


SHORT_HEAD = ("| # | what | artfs | beside it | reached |", "|---|---|---|---|---|")
SHORT_PEERS_MAX = 4


def short_table(result: dict[str, Any]) -> str:
    """The lines that have a goal, as the README shows them."""
    rows = [_short_line(case) for case in result["cases"] if case["at_least"] or case["aim"]]
    return "\n".join([*_heading(result)[:2], *SHORT_HEAD, *rows]) + "\n"


def _heading(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    described = f"{machine['date']}, {machine['cpu']}, {machine['memory_gib']} GiB, kernel {machine['kernel']}"
    quick = "**quick form: too little data for its times to mean anything.** " if result["quick"] else ""
    dropped = "" if machine["caches_dropped"] else " Caches could not be dropped: nothing here is cold."
    runs = f"medians of {result['repeat']}, latency {result['latency_ms']:g} ms each way where it says cold."
    peers = "; ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [f"{quick}artfs {machine['artfs']}, {described}; {runs}{dropped}", "", f"Peers: {peers}.", ""]


def _line(case: dict[str, Any]) -> str:
    figures, unit = case["figures"], case["unit"]
    ours = figures.get("artfs")
    measured = _spread(ours, unit) if ours else f"no number: {case['refused'].get('artfs', 'it did not run')[:200]}"
    beside = [_peer(name, figures[name], unit, case["ratios"][name]) for name in figures if name != "artfs"]
    beside += [f"{name}: no number ({why[:120]})" for name, why in case["refused"].items() if name != "artfs"]
    counts = ", ".join(f"{number(value)} {name}" for name, value in ours["counts"].items()) if ours else ""
    least, aim = _goals(case["at_least"]), _goals(case["aim"])
    return _row(str(case["row"]), case["what"], measured, least, aim, "; ".join(beside), counts)


def _short_line(case: dict[str, Any]) -> str:
    figures, unit = case["figures"], case["unit"]
    ours = figures.get("artfs")
    measured = f"**{number(ours['median'])} {unit}**" if ours else "no number"
    peers = [name for name in figures if name != "artfs"][:SHORT_PEERS_MAX]
    beside = "; ".join(_short_peer(name, figures[name], case["ratios"][name]) for name in peers)
    return _row(str(case["row"]), case["what"], measured, beside, _reached(case))


def _short_peer(name: str, figure: dict[str, Any], ratio: float | None) -> str:
    return f"{name} {number(figure['median'])}" + (f" (x {ratio:.2g})" if ratio is not None else "")


def _reached(case: dict[str, Any]) -> str:
    """The best that holds, and what is next."""
    missed = _goals_not_met(case["at_least"])
    if missed:
        return f"**not {missed}**"
    missed = _goals_not_met(case["aim"])
    least = ", ".join(goal["goal"] for goal in case["at_least"])
    if missed:
        return f"{least}; not the aim, {missed}" if least else f"not the aim, {missed}"
    return "the aim, " + ", ".join(goal["goal"] for goal in case["aim"]) if case["aim"] else least


def _goals_not_met(goals: list[dict[str, Any]]) -> str:
    return ", ".join(goal["goal"] for goal in goals if goal["met"] is not True)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _spread(figure: dict[str, Any], unit: str) -> str:
    return f"**{number(figure['median'])} {unit}** ({number(figure['low'])}–{number(figure['high'])})"


def _peer(name: str, figure: dict[str, Any], unit: str, ratio: float | None) -> str:
    counts = "".join(f", {number(value)} {count}" for count, value in figure["counts"].items())
    return f"{name} {number(figure['median'])} {unit}{counts}" + (f" (x {ratio:.2f})" if ratio is not None else "")


def _goals(goals: list[dict[str, Any]]) -> str:
    signs = {True: "met", False: "**not met**", None: "unknown"}
    return ", ".join(f"{goal['goal']}: {signs[goal['met']]}" for goal in goals)


def number(value: float) -> str:
    """Three figures are enough."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
