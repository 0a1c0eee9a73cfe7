"""The unit for systemd that `artfs mount --systemd-unit` prints."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from artfs.cli.systemd_unit import mount_unit
from artfs.config import load_config
from artfs.fuse.mount_options import MountOptions

HARD = Path("/home/ann/a b%c$d'e\"f\\g")


def unit(place: Path, options: MountOptions, tmp_path: Path, **settings: str) -> str:
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return mount_unit(place, load_config(settings, environ), options)


def started(text: str) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    return "mount " + line.partition(" mount ")[2]


def test_it_mounts_in_the_foreground_supervised(tmp_path: Path) -> None:
    assert started(unit(Path("/data"), MountOptions(), tmp_path)) == "mount --foreground --supervise -- /data"


def test_when_the_kernel_kills_the_mount_for_want_of_memory_the_supervisor_is_left_to_mount_again(
    tmp_path: Path,
) -> None:
    assert "OOMPolicy=continue" in unit(Path("/data"), MountOptions(), tmp_path).splitlines()


def test_what_was_given_is_in_it(tmp_path: Path) -> None:
    options = MountOptions(read_only=True, pin=True, allow_other=True, kernel=("noatime",))
    text = unit(
        Path("/data"), options, tmp_path, registry="https://artfs.example.org", cache_size="1GiB", cache="never"
    )
    assert started(text) == (
        "mount --foreground --supervise --read-only --pin --allow-other"
        " -o registry=https://artfs.example.org,cache=never,cache_size=1073741824,noatime -- /data"
    )


def test_a_registry_is_named_absolutely_and_commas_are_kept(tmp_path: Path) -> None:
    text = unit(Path("/data"), MountOptions(), tmp_path, registry="./a,b")
    assert f'"registry={Path.cwd()!s}/a\\\\,b"' in started(text).replace("-o ", "")


def test_nothing_in_a_path_means_anything_to_systemd(tmp_path: Path) -> None:
    assert started(unit(HARD, MountOptions(), tmp_path)).endswith('-- "/home/ann/a b%%c$$d\'e\\"f\\\\g"')


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("place", [Path("/data/artfs"), HARD])
def test_systemd_finds_no_fault(tmp_path: Path, place: Path) -> None:
    file = tmp_path / "artfs.service"
    file.write_text(unit(place, MountOptions(), tmp_path, registry="https://artfs.example.org"))
    (tmp_path / "run").mkdir(mode=0o700)
    for command in (["systemd-analyze", "verify"], ["systemd-analyze", "--user", "verify"]):
        done = subprocess.run(
            [*command, file],
            capture_output=True,
            text=True,
            timeout=60,
            env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run"), "PATH": "/usr/bin:/bin"},
        )
        complaints = [line for line in done.stderr.splitlines() if file.name in line]
        assert (done.returncode, complaints) == (0, [])
