"""What fails within a mount, and is no reason for the mount to end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from artfs.errors import Busy
from artfs.fuse.control_server import serve_control
from artfs.fuse.serving import keep_running

pytestmark = [pytest.mark.falsifies("no-end")]

FAILURES = [ZeroDivisionError("internal"), OSError(24, "no descriptors"), MemoryError(), RuntimeError("no threads")]


async def _ask(path: Path, data: bytes) -> bytes:
    with trio.fail_after(10):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(data)
            return b"".join([part async for part in stream])


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_a_request_on_the_control_socket_that_fails_ends_nothing(tmp_path: Path, failure: Exception) -> None:
    async def fail(_: Mapping[str, str]) -> Mapping[str, Any]:
        raise failure

    async def refuse(_: Mapping[str, str]) -> Mapping[str, Any]:
        raise Busy("not now")

    async def answer(request: Mapping[str, str]) -> Mapping[str, Any]:
        return {"asked": request["request"]}

    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, {"fail": fail, "refuse": refuse, "answer": answer})
        assert await _ask(path, b'{"request": "fail"}\n') == b""
        assert "unknown request" in json.loads(await _ask(path, b'{"request": \xff}\n'))["error"]
        assert "not now" in json.loads(await _ask(path, b'{"request": "refuse"}\n'))["error"]
        assert json.loads(await _ask(path, b'{"request": "answer"}\n')) == {"asked": "answer"}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_a_background_task_that_fails_is_begun_again(
    autojump_clock: trio.testing.MockClock, failure: Exception
) -> None:
    begun = 0

    async def task() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise failure

    with trio.fail_after(600):
        await keep_running("the task", task)
    assert begun == 3
