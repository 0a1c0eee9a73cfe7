"""Progress of long work: a bar on a terminal, a plain line now and then otherwise, nothing when asked to be quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import click

from artfs.model.sizes import format_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PLAIN_INTERVAL_S = 5.0
BAR_INTERVAL_S = 0.1
WIDE_COLUMNS = 100  # of a terminal
COUNTS_COLUMNS = 46  # of "1,023.9/1,023.9 GiB 1023.9 MB/s 123456 files", and a space before each part


class Meter(Protocol):
    """What long work reports to. Calls are cheap and may come from any thread."""

    def update(self, *, phase: str, files: int, size_bytes: int, total_bytes: int | None = None) -> None:
        """Totals so far; `total_bytes` when it is known how much there will be."""


class Silent:
    def update(self, *, phase: str, files: int, size_bytes: int, total_bytes: int | None = None) -> None:
        pass


@dataclass
class Plain:
    """One line to stderr every few seconds: for logs and pipes."""

    title: str
    noun: str = "files"
    started_s: float = field(default_factory=time.monotonic)
    said_s: float = field(default_factory=time.monotonic)

    def update(self, *, phase: str, files: int, size_bytes: int, total_bytes: int | None = None) -> None:
        now = time.monotonic()
        if now - self.said_s >= PLAIN_INTERVAL_S:
            self.said_s = now
            rate = format_size(int(size_bytes / (now - self.started_s)))
            of_total = f" of {format_size(total_bytes)}" if total_bytes else ""
            click.echo(
                f"{self.title}: {phase}: {files} {self.noun}, {format_size(size_bytes)}{of_total}, {rate}/s", err=True
            )


class Bar:
    """A bar on a terminal; indeterminate until the total is known."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._task: TaskID = progress.add_task(title, total=None, files=0)
        self._said_s = 0.0

    def update(self, *, phase: str, files: int, size_bytes: int, total_bytes: int | None = None) -> None:
        now = time.monotonic()
        if now - self._said_s < BAR_INTERVAL_S and size_bytes != total_bytes:
            return
        self._said_s = now
        self._progress.update(
            self._task, description=f"{self._title}: {phase}", completed=size_bytes, total=total_bytes, files=files
        )


def bar_progress(console: Console, noun: str) -> Progress:
    """One line of the console's width at most: what takes two leaves some of them behind."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    from rich.table import Column

    bar_width = 20 if console.width >= WIDE_COLUMNS else 6
    title_width = max(8, console.width - bar_width - COUNTS_COLUMNS)
    return Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=title_width)),
        BarColumn(bar_width),
        DownloadColumn(binary_units=True, table_column=Column(no_wrap=True)),
        TransferSpeedColumn(table_column=Column(no_wrap=True)),
        TextColumn(f"{{task.fields[files]}} {noun}"),
        console=console,
        transient=True,
    )


@contextmanager
def meter(title: str, *, quiet: bool = False, noun: str = "files") -> Iterator[Meter]:
    """The meter that suits where stderr goes; `noun` is what is counted."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        from rich.console import Console

        with bar_progress(Console(stderr=True), noun) as progress:
            yield Bar(progress, title)
    else:
        yield Plain(title, noun)
