"""What progress looks like on a terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from artfs.cli.progress import Bar, bar_progress


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_a_bar_takes_one_line(columns: int) -> None:
    console = Console(file=StringIO(), width=columns)
    progress = bar_progress(console, "files")
    bar = Bar(progress, "put vision/an-artifact-with-a-long-name")
    with console.capture() as empty:
        console.print(progress.get_renderable())
    bar.update(phase="storing", files=123456, size_bytes=1000 << 20, total_bytes=1023 << 20)
    with console.capture() as half:
        console.print(progress.get_renderable())
    for shown in (empty.get(), half.get()):
        assert shown.count("\n") == 1
        assert len(shown.rstrip()) < columns
    assert "put vis" in half.get()
    assert "123456 files" in half.get() or columns < 80
