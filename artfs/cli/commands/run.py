"""`artfs run`: a command whose reads and commits are noted as a run."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.errors import InvalidValue
from artfs.model.lineage import RunRef
from artfs.model.names import LABEL_CHARACTERS_MAX, check_name
from artfs.wire.runs import NewRun

if TYPE_CHECKING:
    from artfs.cli.noting import Outcome
    from artfs.config import Config

NOT_STARTED = 126
NOT_FOUND = 127


class Wanted(NamedTuple):
    """What the run is to be."""

    project: str
    id: str
    name: str
    group: str
    job_type: str
    config: dict[str, Any]


@click.command(
    "run",
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  artfs run --project vision -- python train.py --epochs 3
  artfs run -p vision --config lr=0.1 -- ./train.sh
  artfs run -p vision --config '{"layers": [64, 64]}' -- ./train.sh
then:
  artfs runs vision                what ran
  artfs lineage vision/net:best    what it was made from""",
)
@click.option(
    *("-p", "--project"),
    metavar="PROJECT",
    help="Where the run belongs; created if it is new. Default: the setting `project`.",
)
@click.option(
    "--id", "id_", default="", metavar="ID", help="The run's id, which must be new; by default one is made up."
)
@click.option("--name", default="", metavar="TEXT", help="What the run is called; the default is the command.")
@click.option("--group", envvar="ARTFS_RUN_GROUP", default="", metavar="GROUP", help="Runs that belong together.")
@click.option("--job-type", default="", metavar="TEXT", help="Such as train or evaluate.")
@click.option("--config", multiple=True, metavar="JSON|K=V", help="What went in; may be repeated.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of the run.")
@json_option
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND [ARGS]...")
@pass_session
def command(
    session: Session,
    project: str | None,
    id_: str,
    name: str,
    group: str,
    job_type: str,
    config: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND as a run: the versions that it reads from mounts are noted as used, those it commits as logged.

    COMMAND's exit code is that of this command. It and all its descendants belong to the run. With --json the last line of
    stdout is the run.
    """
    wanted = Wanted(
        check_name("project", project or session.config.project),
        id_,
        name or ("" if id_ else command_name(command)),
        group,
        job_type,
        parse_config(config),
    )

    def say(text: str) -> None:
        if not (quiet or as_json):
            click.echo(f"artfs: {text}", err=True)

    code, run = _run(session, wanted, command, say)
    if as_json:
        click.echo(json.dumps(run, ensure_ascii=False))
    return code


def command_name(command: tuple[str, ...]) -> str:
    """What a run without id and name is called: the command, as far as a name may hold it."""
    text = "".join(character if character.isprintable() else " " for character in shlex.join(command))
    return text if len(text) <= LABEL_CHARACTERS_MAX else text[: LABEL_CHARACTERS_MAX - 1] + "…"


def parse_config(items: tuple[str, ...]) -> dict[str, Any]:
    """JSON objects and `key=value` pairs, later ones win; a value that is no JSON is text. Raises InvalidValue."""
    config: dict[str, Any] = {}
    for item in items:
        if item.lstrip().startswith("{"):
            try:
                config.update(json.loads(item))
            except ValueError as error:
                raise InvalidValue(f"{item!r} is not a JSON object: {error}") from None
            continue
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise InvalidValue(f"{item!r} is no setting", hint="write key=value or a JSON object")
        try:
            config[key] = json.loads(value)
        except ValueError:
            config[key] = value
    return config


def _run(
    session: Session, wanted: Wanted, command: tuple[str, ...], say: Callable[[str], None]
) -> tuple[int, dict[str, Any]]:
    """The command's exit code, and the run as JSON."""
    from artfs.assemble import creator, mount_records
    from artfs.cli.noting import RunNotes
    from artfs.cli.run_start import attend, start_run, written_down
    from artfs.cli.standard_input import version_read_from
    from artfs.cli.supervising import supervision
    from artfs.fuse.observing import observe

    registry, records, name = session.registry, mount_records(session.config), session.config.registry
    run = start_run(registry, wanted.project, _new_run(wanted, creator()))
    say(f"run {run} started")
    read = version_read_from(records, name)
    with written_down(records, run, registry.identity, name) as running:
        notes = RunNotes(registry, run, lambda: observe(records, running, name), besides=[read] if read else [])
        for mountpoint in attend(records, running, name):
            say(f"the mount at {mountpoint} does not answer: what is read there is not noted")
        try:
            with supervision() as supervise, notes.kept():
                code = supervise(command, _environment(session, run, wanted.group))
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            say(f"cannot start {command[0]!r}: {'no such command' if missing else error.strerror}")
            code = NOT_FOUND if missing else NOT_STARTED
        outcome = notes.finish(code)
    for line in _sentences(run, code, outcome):
        say(line)
    return code, _as_json(run, code, outcome)


def _new_run(wanted: Wanted, created_by: str) -> NewRun:
    return NewRun(
        id=wanted.id,
        name=wanted.name,
        group=wanted.group,
        job_type=wanted.job_type,
        sweep=os.environ.get("ARTFS_SWEEP_ID", ""),
        config=wanted.config,
        created_by=created_by,
    )


def _environment(session: Session, run: RunRef, group: str) -> dict[str, str]:
    """This process's, with what tells artfs in the command which run it belongs to, and in which registry that is."""
    environment = {**os.environ, "ARTFS_RUN": str(run), "ARTFS_PROJECT": run.project}
    if group:
        environment["ARTFS_RUN_GROUP"] = group
    if session.config.sources["registry"] == "command line":
        environment["ARTFS_REGISTRY"] = _anywhere(session.config)
    return environment


def _anywhere(config: Config) -> str:
    """The registry by a name that means the same in whichever directory the command's processes are."""
    if config.is_remote:
        return config.registry
    return str(Path(config.registry.removeprefix("file://")).expanduser().absolute())


def _sentences(run: RunRef, code: int, outcome: Outcome) -> Iterator[str]:
    for kind, versions in outcome.missing.items():
        if versions:
            yield f"not recorded as {kind.value}: {', '.join(map(str, versions))}"
    if outcome.error:
        yield f"the registry's record of run {run} is not complete: {outcome.error}"
    if outcome.unknown:
        yield f"{outcome.unknown} files were opened whose version is not known (see docs/lineage.md)"
    state = "finished" if code == 0 else f"failed with exit code {code}"
    yield f"run {run} {state}, used {len(outcome.edges.used)}, logged {len(outcome.edges.logged)}"


def _as_json(run: RunRef, code: int, outcome: Outcome) -> dict[str, Any]:
    return {
        "run": str(run),
        "exit_code": code,
        "used": list(map(str, outcome.edges.used)),
        "logged": list(map(str, outcome.edges.logged)),
        "not_recorded": {kind.value: list(map(str, versions)) for kind, versions in outcome.missing.items()},
        "unknown": outcome.unknown,
        "error": outcome.error,
    }
