"""`artfs runs`: the runs of a project, or one run with what it used and logged."""

from __future__ import annotations

from typing import Any

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.output import echo_json, echo_table, iso_time, local_time, plain
from artfs.errors import InvalidName
from artfs.model.lineage import RunRef, RunState
from artfs.model.names import check_name
from artfs.wire.runs import RunEdges, RunRecord

_COLOURS = {RunState.RUNNING: "yellow", RunState.FINISHED: "green", RunState.FAILED: "red"}


@click.command(
    "runs",
    epilog="""\b
Examples:
  artfs runs vision                     newest first
  artfs runs vision --group night -n 5
  artfs runs vision/k3x9a2b1            one run, with what it used and logged""",
)
@click.argument("project", metavar="PROJECT[/RUN]", required=False)
@click.option("--group", default="", metavar="GROUP", help="Only the runs of this group.")
@click.option("--sweep", default="", metavar="SWEEP", help="Only the runs of this sweep.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Show only the newest N.")
@json_option
@pass_session
def command(session: Session, project: str | None, group: str, sweep: str, limit: int | None, as_json: bool) -> None:
    """List the runs of a project (by default the setting `project`), newest first, or show one run."""
    registry = session.registry
    project = project or session.config.project
    if "/" in project:
        if group or sweep or limit:
            raise InvalidName(f"{project!r} is one run", hint="leave out the options, or name a project")
        ref = RunRef.parse(project)
        run = registry.runs.get(ref.project, ref.id)
        edges = registry.lineage.of_run(ref.project, ref.id)
        if as_json:
            echo_json({**run_json(run), **_edges_json(edges)})
        else:
            _show(run, edges)
        return
    runs = registry.runs.list(check_name("project", project), group=group, sweep=sweep)[::-1][:limit]
    if as_json:
        echo_json([run_json(run) for run in runs])
        return
    rows = (
        (run.id, run.name, run.state.value, local_time(run.created_at_ns), _took(run), run.group, run.job_type)
        for run in runs
    )
    echo_table(("run", "name", "state", "started", "took", "group", "job type"), rows, right=(4,))


def _told(run: RunRecord) -> tuple[tuple[str, str], ...]:
    """What somebody said of a run, by what it is."""
    return (
        ("group", run.group),
        ("job type", run.job_type),
        ("sweep", run.sweep),
        ("tags", ", ".join(run.tags)),
        ("notes", run.notes),
    )


def run_json(run: RunRecord) -> dict[str, Any]:
    return {
        "run": str(run.ref),
        "name": run.name,
        "state": run.state.value,
        "exit_code": run.exit_code,
        "group": run.group,
        "job_type": run.job_type,
        "notes": run.notes,
        "tags": run.tags,
        "sweep": run.sweep,
        "config": run.config,
        "summary": run.summary,
        "created_at": iso_time(run.created_at_ns),
        "ended_at": None if run.ended_at_ns is None else iso_time(run.ended_at_ns),
        "created_by": run.created_by,
    }


def _edges_json(edges: RunEdges) -> dict[str, list[str]]:
    return {"used": list(map(str, edges.used)), "logged": list(map(str, edges.logged))}


def _show(run: RunRecord, edges: RunEdges) -> None:
    state = click.style(run.state.value, fg=_COLOURS[run.state])
    code = "" if run.exit_code in (None, 0) else f" (exit code {run.exit_code})"
    name = "" if run.name == run.id else f"  {run.name}"
    click.echo(f"{click.style(str(run.ref), bold=True)}{name}  {state}{code}")
    click.echo(
        f"  {local_time(run.created_at_ns)} by {run.created_by or 'nobody named'}, {_took(run) or 'still running'}"
    )
    for what, value in _told(run):
        if value:
            click.echo(f"  {what} {plain(str(value))}")
    for what, values in (("config", run.config), ("summary", run.summary)):
        for key, value in values.items():
            click.echo(f"  {what} {plain(f'{key} = {value}')}")
    for what, versions in (("used", edges.used), ("logged", edges.logged)):
        for version in versions:
            click.echo(f"  {what:6} {version}")


def _took(run: RunRecord) -> str:
    if run.ended_at_ns is None:
        return ""
    seconds = max(0, run.ended_at_ns - run.created_at_ns) / 1e9
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
