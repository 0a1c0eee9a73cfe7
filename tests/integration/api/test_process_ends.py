"""What scripts do in several processes, and while one of them is about to end."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import artfs

pytestmark = pytest.mark.usefixtures("place")
SCRIPT_S = 60


def test_a_thread_that_outlives_the_main_one_logs_and_downloads() -> None:
    code = """
        import artfs, atexit, threading
        run = artfs.init(id="it")
        def log(name):
            artifact = artfs.Artifact(name, "dataset")
            with artifact.new_file("x") as file:
                file.write(name)
            with artifact.new_file("large", "wb") as file:
                file.write(bytes(5 << 20))
            run.log_artifact(artifact).download()
        log("first")
        main = threading.main_thread()
        threading.Thread(target=lambda: (main.join(), log("thread"))).start()
        atexit.register(log, "exit")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=SCRIPT_S
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(a.name for a in artfs.Api().run("it").logged_artifacts()) == ["exit:v0", "first:v0", "thread:v0"]
    assert [Path(f"artifacts/{name}:v0/x").read_text() for name in ("thread", "exit")] == ["thread", "exit"]


def _leave() -> None:
    sys.exit(3)


def test_leaving_in_a_worker_of_a_pool_is_told_to_who_waits() -> None:
    with artfs.init(), ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        with pytest.raises(SystemExit) as left:
            pool.submit(_leave).result(SCRIPT_S)
        assert left.value.code == 3
        assert pool.submit(os.getpid).result(SCRIPT_S) != os.getpid()


_shared: artfs.Artifact | None = None


def _fill(number: int) -> str:
    assert _shared is not None
    with _shared.new_file("mine") as file:
        file.write(str(number) * 1000)
    _together.wait(SCRIPT_S)
    with artfs.init() as run:
        logged = run.log_artifact(_shared)
    return (logged.get_entry("common").open().read() + logged.get_entry("mine").open().read()).decode()


_together = get_context("fork").Barrier(4)


def test_forked_children_each_add_to_their_own_copy_of_an_artifact() -> None:
    global _shared
    _shared = artfs.Artifact("it", type="dataset")
    with _shared.new_file("common") as file:
        file.write("c")
    with get_context("fork").Pool(4) as pool:
        found = pool.map_async(_fill, range(4), chunksize=1).get(SCRIPT_S)
    assert found == ["c" + str(number) * 1000 for number in range(4)]
