"""Runs: beginning and going on with them, what they log, what they logged and used, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import artfs
from artfs.errors import (
    AlreadyExists,
    InvalidValue,
    LineageCycle,
    RunNotFound,
    SweepNotFound,
    TypeMismatch,
    UsageError,
)
from tests.integration.api.conftest import Putting, write_files
from tests.integration.serving import wait_until

pytestmark = pytest.mark.usefixtures("place")
SCRIPT_S = 60


def _script(code: str, *, killed: bool = False) -> int:
    """The exit code of a process that runs `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, timeout=SCRIPT_S, capture_output=True, text=True
    )
    assert killed or done.returncode >= 0, done.stderr
    return done.returncode


def _current() -> artfs.Run | None:
    return artfs.run


def _logged(name: str, **files: str) -> artfs.Artifact:
    artifact = artfs.Artifact(name, "dataset")
    for path, content in files.items():
        with artifact.new_file(path) as file:
            file.write(content)
    return artifact


def test_a_run_is_begun_and_ended_by_its_block() -> None:
    with artfs.init(project="vision", name="first", group="g", job_type="train", config={"lr": 0.1}) as run:
        assert _current() is run
        assert (run.state, run.project, run.name, run.group, run.job_type) == (
            "running",
            "vision",
            "first",
            "g",
            "train",
        )
        assert run.path == f"{run.entity}/vision/{run.id}"
        assert artfs.Api().run(run.path).state == "running"
    assert _current() is None
    found = artfs.Api().run(f"vision/{run.id}")
    assert (run.state, found.state, found.exit_code) == ("finished", "finished", 0)
    assert (found.name, found.group, found.job_type, found.config.as_dict()) == ("first", "g", "train", {"lr": 0.1})
    assert found.created_by.partition("@")[2]


def test_a_block_that_raises_fails_its_run() -> None:
    with pytest.raises(ZeroDivisionError), artfs.init(id="a"):
        raise ZeroDivisionError
    with pytest.raises(SystemExit), artfs.init(id="b"):
        sys.exit(3)
    with pytest.raises(SystemExit), artfs.init(id="c"):
        sys.exit()
    api = artfs.Api()
    assert [(api.run(id_).state, api.run(id_).exit_code) for id_ in "abc"] == [
        ("failed", 1),
        ("failed", 3),
        ("finished", 0),
    ]


@pytest.mark.parametrize(
    ("ending", "state", "exit_code"),
    [
        ("pass", "finished", 0),
        ("raise ValueError", "failed", 1),
        ("sys.exit(7)", "failed", 7),
        ("sys.exit('a message')", "failed", 1),
        ("sys.exit()", "finished", 0),
        ("exit(5)", "failed", 5),
        ("raise KeyboardInterrupt", "failed", 130),
        ("exec('try: sys.exit(3)\\nexcept SystemExit: pass')", "finished", 0),
        ("run.finish()", "finished", 0),
        ("run.finish(exit_code=9)", "failed", 9),
        ("artfs.finish(); sys.exit(4)", "finished", 0),
        ("import threading; t = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()", "finished", 0),
    ],
)
def test_the_end_of_the_process_ends_its_run(ending: str, state: str, exit_code: int) -> None:
    _script(f"import sys, artfs; run = artfs.init(id='it'); artfs.log({{'loss': 1}}); {ending}", killed=True)
    run = artfs.Api().run("it")
    assert (run.state, run.exit_code, run.summary["loss"]) == (state, exit_code, 1)


def test_a_run_whose_process_is_killed_is_not_finished() -> None:
    code = "import artfs, os, signal; artfs.init(id='it'); os.kill(os.getpid(), signal.SIGKILL)"
    assert _script(code, killed=True) == -signal.SIGKILL
    assert artfs.Api().run("it").state == "running"  # until it is long silent: tests/contract has the clock for that


def test_an_old_run_is_gone_on_with() -> None:
    with artfs.init(id="old", config={"a": 1, "b": 1}) as run:
        run.log({"loss": 3})
    with pytest.raises(AlreadyExists):
        artfs.init(id="old")
    for resume in ("allow", "must", True):
        with artfs.init(id="old", resume=resume, config={"b": 2}) as run:
            assert run.state == "running"
            assert run.config.as_dict() == {"a": 1, "b": 2}
            run.log({"loss": 2})
    with artfs.init(id="new", resume="allow"):
        pass
    with pytest.raises(RunNotFound):
        artfs.init(id="nothing", resume="must")
    with pytest.raises(InvalidValue):
        artfs.init(resume="perhaps")  # type: ignore[arg-type]  # what a user may write
    found = artfs.Api().run("old")
    assert [(row["_step"], row["loss"]) for row in found.history()] == [(0, 3), (1, 2), (2, 2), (3, 2)]
    assert found.state == "finished"


def test_what_is_logged_becomes_history_and_summary() -> None:
    with artfs.init(id="it") as run:
        artfs.log({"loss": 3.0, "note": "a"})
        run.log({"loss": 2.0}, commit=False)
        run.log({"acc": 0.5})
        assert run.step == 2
        run.log({"loss": float("nan"), "deep": {"x": [1, 2]}}, step=5)
        run.log({"acc": float("inf")}, step=5)
        run.log({"lost": 1}, step=1)
        run.log({"loss": 1.0})
        run.log({"loss": 0.5})
        assert (run.summary["loss"], run.summary.get("nothing", 7)) == (0.5, 7)
        with pytest.raises(InvalidValue):
            run.log({"object": object()})
    found = artfs.Api().run("it")
    rows = [{k: v for k, v in row.items() if k != "_timestamp"} for row in found.history()]
    assert rows == [
        {"_step": 0, "loss": 3.0, "note": "a"},
        {"_step": 1, "loss": 2.0, "acc": 0.5},
        {"_step": 5, "loss": 1.0, "deep": {"x": [1, 2]}, "acc": "Infinity"},
        {"_step": 6, "loss": 0.5},
    ]
    assert found.summary["loss"] == 0.5
    assert "lost" not in found.summary


def test_ten_thousand_steps_are_logged_quickly_and_all() -> None:
    with artfs.init(id="it") as run:
        for i in range(10_000):
            run.log({"i": i})
    history = artfs.Api().run("it").history()
    assert [row["i"] for row in history] == list(range(10_000))


def test_config_and_summary_are_set_in_many_ways_and_kept_in_order() -> None:
    from argparse import Namespace

    import numpy as np

    with artfs.init(id="it", config=Namespace(lr=0.1, layers=[1, 2])) as run:
        run.config.lr = 0.2
        run.config["seed"] = np.int64(3)
        run.config.update({"a": 1}, b=2)
        run.config.setdefaults({"a": 5, "c": 5})
        assert artfs.config.lr == 0.2
        run.log({"acc": 0.5})
        artfs.summary["acc"] = 0.9
        run.log({"other": 1})
        artfs.summary["best"] = {"acc": 0.9}
    found = artfs.Api().run("it")
    assert found.config.as_dict() == {"lr": 0.2, "layers": [1, 2], "seed": 3, "a": 1, "b": 2, "c": 5}
    assert (found.summary["acc"], found.summary["other"], found.summary["best"]) == (0.9, 1, {"acc": 0.9})
    found.summary["later"] = 1
    found.config["note"] = "x"
    found.update()
    again = artfs.Api().run("it")
    assert (again.summary["later"], again.config["note"], again.config["lr"]) == (1, "x", 0.2)
    with pytest.raises(AttributeError):
        run.config.nothing  # noqa: B018


def test_a_run_that_others_watch_tells_soon_what_it_logged() -> None:
    with artfs.init(id="it") as run:
        run.log({"loss": 1})
        wait_until(lambda: artfs.Api().run("it").summary.get("loss") == 1, "the loss is seen")


def test_artifacts_are_logged_used_and_walked_from_both_sides(tmp_path: Path) -> None:
    write_files(tmp_path / "my_data", {"file.txt": "x"})
    with artfs.init(id="producer") as run:
        artifact = artfs.Artifact("bikes", "dataset", description="d", metadata={"n": 1})
        artifact.add_file(str(tmp_path / "my_data/file.txt"))
        logged = run.log_artifact(artifact, aliases=["best"])
        assert logged is artifact
        assert (logged.wait().name, sorted(logged.aliases), logged.is_draft()) == (
            "bikes:v0",
            ["best", "latest"],
            False,
        )
        assert (logged.description, logged.metadata) == ("d", {"n": 1})
    for consumer in ("first", "second"):
        with artfs.init(id=consumer) as run:
            used = run.use_artifact("bikes:best")
            assert (used.name, Path(used.download(), "file.txt").read_text()) == ("bikes:v0", "x")
            run.log_artifact(_logged(f"net-{consumer}", w=consumer), type="model")
    with pytest.raises(TypeMismatch), artfs.init(id="third") as run:
        run.use_artifact("bikes:best", type="model")

    version = artfs.Api().artifact("bikes:best")
    producer = version.logged_by()
    assert producer is not None
    assert producer.id == "producer"
    assert [run.id for run in version.used_by()] == ["first", "second"]
    assert [found.name for found in version.used_by()[0].logged_artifacts()] == ["net-first:v0"]
    assert list(producer.used_artifacts()) == []
    consumed = artfs.Api().run("second").used_artifacts()
    assert [found.name for found in consumed] == ["bikes:v0"]
    earlier = consumed[0].logged_by()
    assert earlier is not None
    assert earlier.id == "producer"


def test_what_a_version_follows_from_cannot_follow_from_it() -> None:
    with artfs.init(id="a") as run:
        run.log_artifact(_logged("x", f="1"))
    with artfs.init(id="b") as run:
        run.use_artifact("x:latest")
        run.log_artifact(_logged("y", f="2"))
    with artfs.init(id="a", resume="must") as run, pytest.raises(LineageCycle):
        run.use_artifact("y:latest")


def test_identical_content_makes_no_version_and_says_what_is_new_of_it(make: Putting) -> None:
    with artfs.init(id="a") as run:
        first = _logged("x", f="1")
        first.metadata = {"kept": 1, "epoch": 1}
        run.log_artifact(first)
    with artfs.init(id="b") as run:
        again = _logged("x", f="1")
        again.metadata = {"epoch": 2}
        again.aliases.append("best")
        assert run.log_artifact(again).version == "v0"
    found = artfs.Api().artifact("x:best")
    assert (found.version, found.metadata) == ("v0", {"kept": 1, "epoch": 2})
    assert [a.name for a in artfs.Api().run("b").logged_artifacts()] == ["x:v0"]


def test_a_version_can_be_logged_by_another_run_too(make: Putting) -> None:
    make("bikes", {"a": "a"})
    with artfs.init(id="it") as run:
        run.log_artifact(artfs.Api().artifact("bikes:v0"), aliases=["checked"])
    assert [a.name for a in artfs.Api().run("it").logged_artifacts()] == ["bikes:v0"]
    assert "checked" in artfs.Api().artifact("bikes:v0").aliases


def test_paths_are_logged_and_a_run_is_begun_where_there_is_none(tmp_path: Path) -> None:
    write_files(tmp_path / "d", {"a": "a", "b/c": "c"})
    logged = artfs.log_artifact(tmp_path / "d", name="things", type="dataset")
    run = _current()
    assert run is not None
    id_ = run.id
    assert [entry.path for entry in logged.files()] == ["a", "b/c"]
    assert artfs.log_artifact(tmp_path / "d/a").name == f"run-{id_}-a:v0"
    artfs.finish()
    assert _current() is None
    artfs.finish()
    assert len(artfs.Api().run(id_).logged_artifacts()) == 2


def test_without_a_run_what_needs_one_says_so() -> None:
    for use in (
        lambda: artfs.log({"a": 1}),
        lambda: artfs.use_artifact("a:b"),
        lambda: artfs.config["lr"],
        lambda: artfs.config.update(lr=1),
        lambda: artfs.summary.get("x"),
    ):
        with pytest.raises(UsageError, match="init"):
            use()


def test_a_run_that_has_ended_takes_nothing_more() -> None:
    run = artfs.init(id="it")
    run.finish()
    run.finish(3)
    assert artfs.Api().run("it").state == "finished"
    for use in (
        lambda: run.log({"a": 1}),
        lambda: run.log_artifact(_logged("x", a="a")),
        lambda: run.config.update(a=1),
    ):
        with pytest.raises(UsageError, match="ended"):
            use()


def test_there_is_one_current_run_and_another_is_begun_on_request() -> None:
    with artfs.init(id="first") as first:
        assert artfs.init() is first
        assert artfs.init(id="first") is first
        second = artfs.init(id="second")
        assert (first.state, _current()) == ("finished", second)
        third = artfs.init(reinit=True)
        assert (second.state, _current()) == ("finished", third)
    third.finish()


def test_a_disabled_run_keeps_nothing(make: Putting, tmp_path: Path) -> None:
    make("bikes", {"a": "a"})
    with artfs.init(id="it", mode="disabled", config={"lr": 1}) as run:
        run.log({"loss": 1})
        run.summary["best"] = 2
        artifact = run.log_artifact(_logged("x", a="a"))
        assert run.use_artifact("bikes:v0").name == "bikes:v0"
        assert (run.config.lr, run.summary["loss"], run.state, artifact.is_draft()) == (1, 1, "running", True)
        run.finish_artifact(run.upsert_artifact(_logged("y", a="a")))
        assert (list(run.logged_artifacts()), list(run.used_artifacts())) == ([], [])
    assert run.state == "finished"
    with pytest.raises(RunNotFound):
        artfs.Api().run("it")
    assert [found.name for found in artfs.Api().artifact_type("dataset").collections()] == ["bikes"]


def test_a_process_of_a_run_goes_on_with_it_and_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with artfs.init(project="vision", id="outer", config={"a": 1}) as outer:
        monkeypatch.setenv("ARTFS_RUN", "vision/outer")
        code = "import artfs; run = artfs.init(config={'b': 2}); artfs.log({'x': 1}); assert run.path.endswith('vision/outer')"
        assert _script(code) == 0
        assert _script(f"{code}; raise SystemExit(3)") == 3
        assert _script("import artfs\nwith artfs.init(project='other') as run: assert run.project == 'other'") == 0
        monkeypatch.delenv("ARTFS_RUN")
        found = artfs.Api().run("vision/outer")
        assert (found.state, found.config.as_dict(), found.summary["x"]) == ("running", {"a": 1, "b": 2}, 1)
    assert artfs.Api().run("vision/outer").state == "finished"
    assert outer.state == "finished"


def test_a_forked_child_has_no_run_and_leaves_its_parents_alone() -> None:
    code = """
import artfs, multiprocessing, os, sys
def child(parent):
    assert artfs.run is None
    try: parent.log({"x": 2})
    except artfs.errors.UsageError as error: assert "another process" in str(error)
    else: raise AssertionError
    assert artfs.Api().run("parent").state == "running"
    own = artfs.init(id="child")
    own.log({"x": 3})
def failing():
    artfs.init(id="failing")
    raise ValueError
with artfs.init(id="parent") as run:
    run.log({"x": 1})
    fork = multiprocessing.get_context("fork")
    for target, args, code in ((child, (run,), 0), (failing, (), 1)):
        process = fork.Process(target=target, args=args)
        process.start()
        process.join(50)
        assert process.exitcode == code, process.exitcode
    pid = os.fork()
    if pid == 0:
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert artfs.Api().run("parent").state == "running"
    run.log({"x": 4})
"""
    assert _script(code) == 0
    api = artfs.Api()
    assert [(api.run(id_).state, api.run(id_).summary.get("x")) for id_ in ("parent", "child", "failing")] == [
        ("finished", 4),
        ("finished", 3),
        ("failed", None),
    ]


def test_runs_are_listed_filtered_and_ordered() -> None:
    project = os.environ["ARTFS_PROJECT"]
    for i, group in enumerate(["a", "b", "a", "a"]):
        with artfs.init(id=f"r{i}", group=group, config={"lr": i / 10}) as run:
            if i != 3:
                run.summary["acc"] = [0.2, 0.9, 0.5][i]
    with pytest.raises(ValueError, match="x"), artfs.init(id="bad", group="b"):
        raise ValueError("x")
    api = artfs.Api()

    def ids(**how: object) -> list[str]:
        return [run.id for run in api.runs(**how)]  # type: ignore[arg-type]  # of whichever names a test gives

    assert ids() == ["bad", "r3", "r2", "r1", "r0"]
    assert ids(order="+created_at", filters={"group": "a"}) == ["r0", "r2", "r3"]
    assert ids(filters={"state": "failed"}) == ["bad"]
    assert ids(order="-summary.acc", filters={"state": "finished"}) == ["r1", "r2", "r0", "r3"]
    assert ids(order="+summary_metrics.acc", filters={"config.lr": {"$lt": 0.2}}) == ["r0", "r1"]
    assert ids(filters={"group": {"$in": ["b"]}, "state": {"$ne": "failed"}}) == ["r1"]
    assert [run.id for run in artfs.Api().runs(f"anybody/{project}", {"group": "b"}, "+created_at")] == ["r1", "bad"]
    for bad in ({"order": "+nothing"}, {"filters": {"nothing": 1}}, {"filters": {"group": {"$like": "a"}}}):
        with pytest.raises(InvalidValue):
            ids(**bad)
    api.run("r0").delete()
    with pytest.raises(RunNotFound):
        api.run("r0").load()


def test_the_best_run_of_a_sweep_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    project = os.environ["ARTFS_PROJECT"]
    config = {
        "name": "search",
        "metric": {"name": "val_acc", "goal": "maximize"},
        "parameters": {"lr": {"values": [1]}},
    }
    id_ = artfs.sweep(config)
    monkeypatch.setenv("ARTFS_SWEEP_ID", f"{project}/{id_}")
    for i, accuracy in enumerate([0.3, 0.8, 0.5]):
        with artfs.init(id=f"run{i}") as run:
            assert (run.project, run.sweep_id) == (project, id_)
            run.log({"val_acc": accuracy})
            run.log_artifact(_logged("net", w=str(i)))
    with artfs.init(id="without"):
        pass
    monkeypatch.delenv("ARTFS_SWEEP_ID")
    with artfs.init(id="apart") as run:
        run.summary["val_acc"] = 1
    sweep = artfs.Api().sweep(f"entity/{project}/{id_}")
    assert (sweep.id, sweep.name, sweep.config, sweep.path) == (
        id_,
        "search",
        config,
        f"{sweep.entity}/{project}/{id_}",
    )
    assert [run.id for run in sweep.runs] == ["run0", "run1", "run2", "without"]
    runs = sorted(sweep.runs, key=lambda run: run.summary.get("val_acc", 0), reverse=True)
    best, worst = sweep.best_run(), sweep.best_run(order="+summary.val_acc")
    assert best is not None
    assert worst is not None
    assert (best.id, worst.id, runs[0].id) == ("run1", "run0", "run1")
    assert [artifact.name for artifact in best.logged_artifacts()] == ["net:v1"]
    assert sweep.best_run(order="-summary.nothing") is None
    with pytest.raises(SweepNotFound):
        artfs.init(sweep="nothing")
    with pytest.raises(InvalidValue):
        artfs.Api().sweep(artfs.sweep({})).best_run()


def test_the_script_is_kept_if_asked_for(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import artfs\nwith artfs.init(id='it', save_code=True): pass\n")
    subprocess.run([sys.executable, script], check=True, timeout=SCRIPT_S)
    (code,) = artfs.Api().run("it").logged_artifacts()
    assert code.type == "code"
    assert Path(code.download("out"), "train.py").read_text() == script.read_text()


def test_scripts_of_artfs_run_belong_to_its_run(tmp_path: Path) -> None:
    """Several processes log to it; it ends when the command does, with the command's exit code."""
    (tmp_path / "step.py").write_text(
        "import artfs, sys\nwith artfs.init(config={sys.argv[1]: 1}) as run:\n"
        "    artifact = artfs.Artifact(sys.argv[1], 'dataset')\n"
        "    with artifact.new_file('x') as file: file.write(sys.argv[1])\n"
        "    run.log_artifact(artifact)\n    run.log({'done': sys.argv[1]})\n"
    )
    script = f"{sys.executable} {tmp_path}/step.py one && {sys.executable} {tmp_path}/step.py two; exit 3"
    command = "from artfs.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "run", "--id", "it", "--", "sh", "-c", script], timeout=SCRIPT_S
    )
    assert done.returncode == 3
    run = artfs.Api().run("it")
    assert (run.state, run.exit_code, run.config.as_dict()) == ("failed", 3, {"one": 1, "two": 1})
    assert [found.name for found in run.logged_artifacts()] == ["one:v0", "two:v0"]
    assert [row["done"] for row in run.history()] == ["one", "two"]
