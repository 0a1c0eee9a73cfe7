"""The command line as a user meets it: what it prints, what it exits with, what a mistake says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.user import User, wait_until


@pytest.fixture
def bikes(tmp_path: Path) -> Path:
    """A small data set with everything a version can hold."""
    root = tmp_path / "bikes"
    (root / "images").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "images/1.txt").write_text("one")
    (root / "images/2.txt").write_text("two")
    (root / "train.sh").write_text("#!/bin/sh\n")
    (root / "train.sh").chmod(0o755)
    (root / "link").symlink_to("images/1.txt")
    return root


@pytest.fixture
def with_bikes(user: User, bikes: Path) -> User:
    user.run("put", "-n", "vision/bikes", "-t", "dataset", bikes)
    return user


def test_put_tells_what_it_stored_and_ls_lists_it(user: User, bikes: Path) -> None:
    done = user.run("put", "-n", "vision/bikes", "-t", "dataset", bikes)
    assert "vision/bikes:v0" in done.stdout
    assert user.run("ls").stdout == "vision\n"
    assert "bikes" in user.run("ls", "vision").stdout
    assert "v0" in user.run("ls", "vision/bikes").stdout
    assert user.run("ls", "vision/bikes:latest").stdout.split() == ["empty/", "images/", "link", "train.sh"]
    recursive = user.run("ls", "-R", "vision/bikes:v0").stdout.split()
    assert recursive == ["empty/", "images/", "images/1.txt", "images/2.txt", "link", "train.sh"]
    long = user.run("ls", "-l", "vision/bikes:v0").stdout
    assert "-r-xr-xr-x" in long
    assert "link -> images/1.txt" in long


def test_json_is_json_and_nothing_else(with_bikes: User) -> None:
    assert [p["project"] for p in with_bikes.json("ls")] == ["vision"]
    assert [a["artifact"] for a in with_bikes.json("ls", "vision")] == ["bikes"]
    (version,) = with_bikes.json("log", "vision/bikes")
    assert version["version"] == "v0"
    assert version["aliases"] == ["latest"]
    assert version["files"] == 4
    entries = {e["path"]: e for e in with_bikes.json("ls", "-R", "vision/bikes:v0")}
    assert entries["images/1.txt"]["size_bytes"] == 3
    assert entries["link"]["target"] == "images/1.txt"
    assert entries["train.sh"]["executable"] is True
    assert with_bikes.json("ls", "vision/bikes:v0/empty") == []


def test_an_identical_put_makes_no_version_and_says_so(with_bikes: User, bikes: Path) -> None:
    done = with_bikes.json("put", "-n", "vision/bikes", bikes, "--alias", "best")
    assert done["version"] == "v0"
    assert done["created"] is False
    assert with_bikes.json("alias", "vision/bikes") == {"best": "v0", "latest": "v0"}


def test_put_takes_aliases_description_and_metadata(user: User, bikes: Path) -> None:
    options = ("--alias", "best", "--alias", "prod", "--description", "all bikes", "--metadata", '{"split": "train"}')
    user.run("put", "-n", "vision/bikes", "-t", "dataset", bikes, *options)
    (version,) = user.json("log", "vision/bikes")
    assert version["aliases"] == ["best", "latest", "prod"]
    assert version["description"] == "all bikes"
    assert version["metadata"] == {"split": "train"}


def test_get_writes_the_version_and_again_only_what_is_missing(with_bikes: User, tmp_path: Path) -> None:
    root = tmp_path / "out"
    with_bikes.run("get", "vision/bikes:latest", "--root", root)
    assert (root / "images/1.txt").read_text() == "one"
    assert os.access(root / "train.sh", os.X_OK)
    assert os.readlink(root / "link") == "images/1.txt"
    assert (root / "empty").is_dir()
    kept = (root / "images/2.txt").stat().st_ino
    (root / "images/1.txt").write_text("damaged")
    done = with_bikes.json("get", "vision/bikes:latest", "--root", root)
    assert (root / "images/1.txt").read_text() == "one"
    assert (root / "images/2.txt").stat().st_ino == kept
    assert done["files_written"] == 1


def test_diff_names_what_was_added_removed_and_changed(with_bikes: User, bikes: Path) -> None:
    (bikes / "images/1.txt").write_text("ONE")
    (bikes / "images/2.txt").unlink()
    (bikes / "images/3.txt").write_text("three")
    with_bikes.run("put", "-n", "vision/bikes", bikes)
    done = with_bikes.run("diff", "vision/bikes:v0", "vision/bikes:v1", code=1)
    assert [line.split()[:2] for line in done.stdout.splitlines()[:3]] == [
        ["M", "images/1.txt"],
        ["-", "images/2.txt"],
        ["+", "images/3.txt"],
    ]
    assert with_bikes.run("diff", "vision/bikes:v0", "vision/bikes:v0").stdout == ""


def test_aliases_move_and_go(with_bikes: User, bikes: Path) -> None:
    (bikes / "new").write_text("new")
    with_bikes.run("put", "-n", "vision/bikes", bikes)
    with_bikes.run("alias", "vision/bikes:v0", "best", "prod")
    assert with_bikes.json("alias", "vision/bikes") == {"best": "v0", "latest": "v1", "prod": "v0"}
    with_bikes.run("alias", "vision/bikes:v1", "best")
    with_bikes.run("alias", "--remove", "vision/bikes", "prod")
    assert with_bikes.json("alias", "vision/bikes") == {"best": "v1", "latest": "v1"}


def test_rm_frees_what_nothing_else_holds(with_bikes: User, bikes: Path) -> None:
    (bikes / "new").write_text("x" * 100_000)
    with_bikes.run("put", "-n", "vision/bikes", bikes)
    refused = with_bikes.run("rm", "vision/bikes:v1", code=4)
    assert "latest" in refused.stderr
    (plan,) = with_bikes.json("rm", "--dry-run", "--delete-aliases", "vision/bikes:v1")
    assert plan["versions"] == ["v1"]
    before = with_bikes.stored_bytes()
    with_bikes.run("rm", "--delete-aliases", "vision/bikes:v1")
    assert with_bikes.stored_bytes() < before
    assert [v["version"] for v in with_bikes.json("log", "vision/bikes")] == ["v0"]
    with_bikes.run("rm", "--recursive", "vision")
    assert with_bikes.run("ls").stdout == ""
    with_bikes.run("fsck")


def test_the_forms_of_the_faq_work(user: User, bikes: Path, tmp_path: Path) -> None:
    user.run("artifact", "put", "-n", "project/artifact", "-t", "dataset", bikes)
    user.run("artifact", "get", "project/artifact:latest", "--root", tmp_path / "mnist")
    assert (tmp_path / "mnist/images/1.txt").read_text() == "one"
    assert "v0" in user.run("artifact", "ls", "project/artifact").stdout
    user.run("artifact", "cache", "cleanup", "1GB")


def test_cache_info_is_there_before_anything_was_cached(user: User) -> None:
    info = user.json("cache", "info")
    assert info["objects"] == 0
    assert info["size_bytes"] < 2 << 20  # the index
    assert info["limit_bytes"] == 10 << 30


def test_a_registry_can_be_read_through_the_cache(with_bikes: User, tmp_path: Path) -> None:
    with_bikes.run("get", "vision/bikes:v0", "--root", tmp_path / "a", ARTFS_CACHE="always")
    assert with_bikes.json("cache", "info")["objects"] > 0
    with_bikes.run("cache", "verify")
    with_bikes.run("get", "vision/bikes:v0", "--root", tmp_path / "b", ARTFS_CACHE="always")
    assert (tmp_path / "b/images/1.txt").read_text() == "one"
    with_bikes.run("cache", "cleanup", "0")
    assert with_bikes.json("cache", "info")["objects"] == 0


def test_doctor_finds_this_machine_ready(user: User) -> None:
    report = user.json("doctor")
    assert [check for check in report["checks"] if check["level"] == "failure"] == []
    assert report["settings"]["registry"]["source"] == "default"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(user: User, shell: str) -> None:
    assert "_ARTFS_COMPLETE" in user.run("completion", shell).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("ls", "nowhere"), 3, "nowhere"),
        (("ls", "vision/nothing"), 3, "nothing"),
        (("ls", "vision/bikes:v9"), 3, "v9"),
        (("ls", "vision/bikes:best"), 3, "best"),
        (("ls", "vision/bikes:v0/images/9.txt"), 3, "images/9.txt"),
        (("ls", "vision/bikes:v0/images/1.txt/x"), 3, "images/1.txt"),
        (("ls", "a/b/c/d"), 2, "a/b/c/d"),
        (("log", "vision"), 2, "vision"),
        (("alias", "vision/bikes:v0", "v7"), 2, "v7"),
        (("alias", "vision/bikes:v0", ".hidden"), 2, ".hidden"),
        (("get", "vision/bikes:v5", "--root", "/tmp/never"), 3, "v5"),
        (("put", "-n", "vision/bikes", "/does/not/exist"), 2, "/does/not/exist"),
        (("put", "-n", "vision", "."), 2, "vision"),
        (("cache", "cleanup", "much"), 2, "much"),
        (("rm", "vision/bikes:v9"), 3, "v9"),
        (("umount", "/tmp"), 3, "/tmp"),
        (("frobnicate",), 2, "frobnicate"),
        (("--registry", "/dev/null/x", "ls"), 7, "/dev/null/x"),
        (("--registry", "ftp://example.org", "ls"), 2, "ftp://example.org"),
    ],
)
def test_a_mistake_gets_a_message_and_its_exit_code(
    with_bikes: User, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = with_bikes.run(*arguments, code=code)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_type_that_differs_from_the_artifacts_is_refused(with_bikes: User, bikes: Path) -> None:
    done = with_bikes.run("put", "-n", "vision/bikes", "-t", "model", bikes, code=4)
    assert "dataset" in done.stderr


@pytest.mark.parametrize("metadata", ["{", "[1]", '"x"', '{"a": NaN}'])
def test_malformed_metadata_is_refused_before_anything_is_read(user: User, bikes: Path, metadata: str) -> None:
    done = user.run("put", "-n", "vision/bikes", bikes, "--metadata", metadata, code=2)
    assert "metadata" in done.stderr
    assert user.run("ls").stdout == ""


def test_files_that_a_version_cannot_hold_are_named(user: User, bikes: Path) -> None:
    os.mkfifo(bikes / "pipe")
    (bikes / "outside").symlink_to("../../secret")
    done = user.run("put", "-n", "vision/bikes", bikes, code=2)
    assert "pipe" in done.stderr
    assert "outside" in done.stderr
    assert user.run("ls", "vision", code=None).stdout.count("bikes") == 0


def test_a_directory_that_is_no_registry_is_left_alone(user: User, tmp_path: Path) -> None:
    place = tmp_path / "photos"
    place.mkdir()
    (place / "holiday.jpg").write_text("precious")
    done = user.run("--registry", place, "put", "-n", "a/b", place, code=7)
    assert str(place) in done.stderr
    assert [p.name for p in place.iterdir()] == ["holiday.jpg"]


def test_a_damaged_pack_is_found_and_named(with_bikes: User, tmp_path: Path) -> None:
    for pack in (with_bikes.registry / "packs").rglob("*.pack"):
        data = bytearray(pack.read_bytes())
        data[60] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(data)
    with_bikes.run("get", "vision/bikes:v0", "--root", tmp_path / "out", code=6)
    done = with_bikes.run("fsck", code=6)
    assert "vision/bikes:v0" in done.stdout + done.stderr


def test_an_interrupted_put_leaves_nothing_and_says_so(user: User, tmp_path: Path) -> None:
    source = tmp_path / "big"
    source.mkdir()
    for i in range(8):
        with (source / str(i)).open("wb") as file:
            for _ in range(64):
                file.write(os.urandom(1 << 20))
    process = user.start("put", "-n", "p/a", source)
    spool = user.registry / "spool"
    wait_until(lambda: spool.is_dir() and any(spool.iterdir()), "the upload has begun", 30)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert user.run("ls", "p", code=None).stdout.count("v0") == 0
    assert list(spool.iterdir()) == []
    user.run("fsck")


def test_output_into_a_closed_pipe_is_quiet(with_bikes: User) -> None:
    process = with_bikes.start("ls", "-R", "vision/bikes:v0")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=30)


@pytest.mark.serial
def test_ls_starts_fast(with_bikes: User) -> None:
    times = []
    for _ in range(7):
        began = time.monotonic()
        with_bikes.run("ls")
        times.append(time.monotonic() - began)
    assert min(times) < 0.150


def test_every_command_has_help_with_an_example(user: User) -> None:
    listing = user.run("--help").stdout
    commands = [line.split()[0] for line in listing.partition("Commands:\n")[2].splitlines() if line.startswith("  ")]
    for command in ("mount", "put", "get", "ls", "log", "diff", "alias", "stage", "rm", "fsck", "completion"):
        assert command in commands
        assert "artfs" in user.run(command, "--help").stdout.partition("\n")[2]


def test_json_output_of_put_is_one_document(user: User, bikes: Path) -> None:
    done = user.run("put", "-n", "a/b", bikes, "--json")
    assert json.loads(done.stdout)["digest"].startswith("sha256:")


def test_a_read_only_registry_can_be_read(with_bikes: User, tmp_path: Path) -> None:
    subprocess.run(["mount", "--bind", with_bikes.registry, with_bikes.registry], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", with_bikes.registry], check=True)
        done = with_bikes.run("put", "-n", "a/b", tmp_path, code=7)
        assert "Traceback" not in done.stderr
        assert "ead-only" in done.stderr
    finally:
        subprocess.run(["umount", "-l", with_bikes.registry], check=True)
