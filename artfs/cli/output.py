"""How records look: JSON for programs, aligned columns for people, plain when piped. Imports nothing heavy."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from artfs.wire.records import ArtifactRecord, ProjectRecord, VersionRecord

# What makes a terminal do something, or show text in another order than it is in.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """`text` as it may be shown: others chose it, so what would steer a terminal is written as an escape."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def echo_name(text: str) -> None:
    """A line with names of files: exact for a program, `plain` on a terminal, as ls(1) does it."""
    click.echo(plain(text) if sys.stdout.isatty() else text)


def echo_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False))


def echo_json_stream(values: Iterable[Any]) -> None:
    """A JSON array, element by element: for lists that may be long."""
    separator = "[\n"
    for value in values:
        click.echo(separator + json.dumps(value, ensure_ascii=False), nl=False)
        separator = ",\n"
    click.echo("[]" if separator == "[\n" else "\n]")


def echo_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Aligned columns; those in `right` align right; the last is never padded. Columns at the end that are empty are left out."""
    lines = [list(header), *([plain(cell) for cell in row] for row in rows)]
    filled = [i for i in range(len(header)) if any(line[i] for line in lines[1:])] if lines[1:] else range(len(header))
    lines = [line[: max(filled, default=0) + 1] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text = "  ".join(cells).rstrip()
        click.echo(click.style(text, dim=True) if number == 0 else text)


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def local_time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M")


def iso_time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def project_json(record: ProjectRecord) -> dict[str, Any]:
    return {
        "project": record.name,
        "visibility": record.visibility.value,
        "created_at": iso_time(record.created_at_ns),
    }


def artifact_json(record: ArtifactRecord) -> dict[str, Any]:
    return {
        "project": record.project,
        "artifact": record.name,
        "type": record.type,
        "description": record.description,
        "versions": record.version_count,
        "created_at": iso_time(record.created_at_ns),
    }


def version_json(record: VersionRecord) -> dict[str, Any]:
    return {
        "project": record.project,
        "artifact": record.artifact,
        "version": record.name,
        "aliases": record.aliases,
        "type": record.type,
        "digest": record.digest.text,
        "size_bytes": record.size_bytes,
        "files": record.file_count,
        "description": record.description,
        "metadata": record.metadata,
        "created_at": iso_time(record.created_at_ns),
        "created_by": record.created_by,
        "expires_at": None if record.expires_at_ns is None else iso_time(record.expires_at_ns),
    }
