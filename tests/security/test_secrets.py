"""Tokens are where they belong and nowhere else: not in a process list, an environment, a log, a traceback or a core dump."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.cli.output import plain
from artfs.client.remote.registry import RemoteRegistry
from artfs.errors import ArtfsError
from artfs.machine import withhold_memory
from tests.acceptance.team import Team, end_process, free_port
from tests.acceptance.user import ARTFS, wait_until
from tests.integration.serving import READY_S
from tests.network.scripted import answer, scripted
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("access")]

SECRET = "artfs_0123456789abcdef_" + "5ec3e7" * 10


@pytest.mark.fuse
@pytest.mark.serial
def test_a_token_is_in_no_argument_environment_log_or_record(tmp_path: Path) -> None:
    """While a server and a mount use it, and a program runs that `artfs run` started."""
    team = Team(tmp_path, {})
    with team.serving() as server:
        member = team.user("carl", server.url)
        kept = member.home / ".config/artfs/credentials.json"
        secret = kept.read_text().split('"artfs_')[1].split('"')[0].rpartition("_")[2].encode()
        with member.mounted("m", "-o", "log_level=debug") as mounted:
            (mounted / "vision/bikes").mkdir(parents=True)
            list(mounted.iterdir())
            seen = member.run("run", "--project", "vision", "--", "env").stdout
            processes = {
                path: path.read_bytes()
                for pid in _processes()
                for path in (Path(f"/proc/{pid}/cmdline"), Path(f"/proc/{pid}/environ"))
                if path.exists()
            }
        files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != kept}
    assert any(b"serve" in text for text in processes.values())
    assert any(b"mount" in text for text in processes.values())
    assert [path for path, text in {**processes, **files}.items() if secret in text and path.suffix != ".token"] == []
    assert secret not in seen.encode()
    tried("places where a token might be", len(processes) + len(files) + 1)


def _processes() -> Iterator[int]:
    """Those of the command, whoever started them."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"artfs" in Path(f"/proc/{name}/cmdline").read_bytes():
                yield int(name)
        except OSError:
            continue


REPLIES = {
    "garbage": answer(200, b"\xff\x00garbage"),
    "a login page": answer(200, b"<html>log in</html>", "text/html"),
    "a lie": answer(200, b'{"items": 5}'),
    "a refusal": answer(401, b'{"code": "not-authenticated", "message": "no"}'),
    "a redirect": answer(302, b"", location="http://127.0.0.1:1/"),
}


@pytest.mark.parametrize("reply", REPLIES)
def test_no_traceback_log_or_message_has_the_token(
    reply: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even with the values of all local variables, as some tools print them."""
    caplog.set_level(logging.DEBUG)
    with scripted(REPLIES[reply]) as server:
        registry = RemoteRegistry(server.url, SECRET, spool=tmp_path / "spool")
        with pytest.raises(ArtfsError) as failed:
            registry.projects.list()
        registry.close()
    assert any(SECRET in value for one in server.seen for value in one.headers.values()), "it was sent at all"
    error: BaseException | None = failed.value
    while error is not None:
        text = "".join(traceback.format_exception(error))
        assert SECRET not in text + repr(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    assert SECRET not in repr(registry) + repr(registry.transport) + caplog.text
    tried("failures that might tell a token")


ABORTED = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from artfs.machine import withhold_memory
if sys.argv[1] == "withheld":
    withhold_memory()
os.abort()
"""


def _dumps_core(process: subprocess.Popen[bytes]) -> bool:
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -os.WTERMSIG(status)
    return os.WCOREDUMP(status)


def _any_core() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def test_a_process_that_withholds_its_memory_leaves_no_core(tmp_path: Path) -> None:
    found = {}
    for what in ("ordinary", "withheld"):
        command = [sys.executable, "-c", ABORTED, what]
        process = subprocess.Popen(command, cwd=tmp_path, preexec_fn=_any_core, stderr=subprocess.DEVNULL)
        found[what] = _dumps_core(process)
    if not found["ordinary"]:
        pytest.skip("this machine dumps no cores")
    assert not found["withheld"]
    tried("core dumps")


def test_a_server_that_crashes_leaves_no_core(tmp_path: Path) -> None:
    team = Team(tmp_path, {})
    listen = f"127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [ARTFS, "serve", "--listen", listen],
            env=team.administrator.environment(),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_any_core,
        )
        try:
            wait_until(lambda: "artfs serves" in (tmp_path / "log").read_text(), "it serves", READY_S)
            process.send_signal(signal.SIGABRT)
            assert not _dumps_core(process)
        finally:
            end_process(process)
    tried("core dumps")


def test_what_is_executed_has_its_memory_for_itself_again() -> None:
    """A program that `artfs run` starts can be debugged and dumped as ever."""
    code = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from {withhold_memory.__module__} import withhold_memory; withhold_memory(); {code}\n{inner}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.split() == ["0", "1"]


@pytest.mark.parametrize(
    "text", ["\x1b]0;title\x07", "\x1b[2Ja", "\x9b2J", "a\rb", "a\nb", "\u202etxt.exe", "\x7f", "\0"]
)
def test_what_others_named_does_not_steer_a_terminal(text: str) -> None:
    assert plain(text).isprintable()
    assert plain(text) != text
    assert plain("ünï 東京 🚲.png") == "ünï 東京 🚲.png"
    tried("texts that would steer a terminal")


def test_a_servers_words_do_not_steer_a_terminal(tmp_path: Path) -> None:
    told = answer(404, b'{"code": "project-not-found", "message": "\\u001b]0;owned\\u0007no", "hint": "\\u009b2J"}')
    with scripted(told) as server:
        team = Team(tmp_path, {})
        team.directory.joinpath("somebody").mkdir()
        member = team.at_home("ann", server.url, home="ann", login=False)
        done = member.run("ls", "vision", code=None, ARTFS_TOKEN=SECRET)
    assert "no" in done.stderr
    assert not {"\x1b", "\x07", "\x9b"} & set(done.stderr + done.stdout)
