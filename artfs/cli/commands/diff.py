"""`artfs diff`: what differs between two versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click

from artfs.cli.context import Session, json_option, pass_session
from artfs.cli.exit_codes import FAILED, OK
from artfs.cli.output import echo_json_stream, echo_name
from artfs.cli.refs import resolve_version
from artfs.client.trees import PathChange, TreeReader
from artfs.errors import InvalidName
from artfs.model.digest import Digest
from artfs.model.sizes import format_size
from artfs.model.tree import Entry, EntryKind
from artfs.wandb_client.births import shown_digest

DIFFERENT = FAILED


@click.command(
    "diff",
    epilog="""\b
Examples:
  artfs diff vision/bikes:v3 vision/bikes:v4
  artfs diff vision/bikes:v3 v4                  the same, shorter
  artfs diff vision/bikes:best/labels vision/bikes:v4/labels""",
)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; only the exit code tells.")
@json_option
@pass_session
def command(session: Session, old: str, new: str, quiet: bool, as_json: bool) -> int:
    """Show what differs between two versions: + added, - removed, M modified. Exit code 1 if anything does."""
    if "/" not in new and ":" not in new:
        new = f"{old.partition(':')[0]}:{new}"
    project, tree_old = _tree(session, old)
    other, tree_new = _tree(session, new)
    if other != project:
        raise InvalidName(f"{old} and {new} are in different projects", hint="only versions of one project compare")
    changes = TreeReader(session.client.objects, project).diff(tree_old, tree_new)
    seen = False

    def noted() -> Iterator[PathChange]:
        nonlocal seen
        for change in changes:
            seen = True
            yield change

    if quiet:
        seen = next(changes, None) is not None
    elif as_json:
        text = shown_digest if session.config.is_wandb else _text
        echo_json_stream(_json(change, text) for change in noted())
    else:
        for change in noted():
            echo_name(_line(change))
    return DIFFERENT if seen else OK


def _tree(session: Session, ref: str) -> tuple[str, Digest]:
    version, path = resolve_version(session.registry, ref)
    if not path:
        return version.project, Digest(version.root)
    found = TreeReader(session.client.objects, version.project).lookup(Digest(version.root), path)
    if found.entry.kind is not EntryKind.DIRECTORY:
        raise InvalidName(f"{ref} is not a directory", hint="compare directories or whole versions")
    return version.project, found.entry.digest


def _line(change: PathChange) -> str:
    entry = change.new or change.old
    assert entry is not None
    slash = "/" if entry.kind is EntryKind.DIRECTORY else ""
    return f"{change.kind.value} {change.path}{slash}  {_sizes(change.old, change.new)}"


def _sizes(old: Entry | None, new: Entry | None) -> str:
    if old is None or new is None:
        entry = old or new
        return "" if entry is None else format_size(entry.size_bytes)
    if old.digest == new.digest:
        return "now executable" if new.executable and not old.executable else "attributes"
    return f"{format_size(old.size_bytes)} -> {format_size(new.size_bytes)}"


def _text(digest: Digest) -> str:
    return digest.text


def _json(change: PathChange, text: Callable[[Digest], str]) -> dict[str, Any]:
    return {
        "change": change.kind.name.lower(),
        "path": change.path,
        "old_digest": None if change.old is None else text(change.old.digest),
        "new_digest": None if change.new is None else text(change.new.digest),
        "old_size_bytes": None if change.old is None else change.old.size_bytes,
        "new_size_bytes": None if change.new is None else change.new.size_bytes,
    }
