"""Tools that ask much of a file system, at work in a draft; what they made is the same in the version that is committed."""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.falsifies("posix"), pytest.mark.fuse, pytest.mark.timeout(180)]

WHEELS = Path(ensurepip.__file__).parent / "_bundled"
FIO_BYTES = 8 << 20


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, cwd=cwd, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def commit(draft: Path, artifact: Path) -> Path:
    place = artifact / draft.name.replace("test_", "", 1)
    draft.rename(place)
    return place


@pytest.mark.deep
def test_a_virtual_environment_is_made_and_runs(draft: Path, artifact: Path) -> None:
    """With --copies: without, it has an absolute link to the interpreter, which no version holds."""
    run(sys.executable, "-m", "venv", "--copies", draft / "venv")
    assert "pip" in run(draft / "venv/bin/python", "-m", "pip", "--version")
    version = commit(draft, artifact)
    assert run(version / "venv/bin/python", "-c", "import pip; print(pip.__file__)").startswith(str(version))


def test_pip_installs_into_a_draft(draft: Path, artifact: Path) -> None:
    (wheel,) = WHEELS.glob("pip-*.whl")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", draft / "lib", wheel)
    version = commit(draft, artifact)
    code = f"import sys; sys.path.insert(0, {str(version / 'lib')!r}); import pip; print(pip.__file__)"
    assert run(sys.executable, "-I", "-c", code).startswith(str(version))


def test_a_package_of_debian_is_built_and_unpacked(draft: Path, artifact: Path) -> None:
    tree = draft / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: bikes\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: bikes\n"
    )
    (tree / "usr/share/bikes").mkdir(parents=True)
    (tree / "usr/share/bikes/data").write_bytes(os.urandom(100_000))
    (tree / "usr/share/bikes/link").symlink_to("data")
    run("dpkg-deb", "--root-owner-group", "-b", tree, draft / "bikes.deb")
    run("dpkg-deb", "-x", draft / "bikes.deb", draft / "unpacked")
    version = commit(draft, artifact)
    run("diff", "-r", "--no-dereference", version / "tree/usr", version / "unpacked/usr")


def test_fio_reads_back_what_it_wrote(draft: Path) -> None:
    """Random writes of many sizes with a checksum in each block, by two jobs at once, then by a shared mapping."""
    for engine in ("psync", "mmap"):
        run(
            *(
                "fio",
                "--name=w",
                f"--directory={draft}",
                f"--ioengine={engine}",
                "--rw=randwrite",
                f"--size={FIO_BYTES}",
            ),
            *("--bsrange=4k-64k", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--numjobs=2"),
            *("--fallocate=none", "--end_fsync=1", "--output-format=terse", f"--filename_format={engine}.$jobnum"),
            cwd=draft,
        )
        found = sorted(path.stat().st_size for path in draft.glob(f"{engine}.*"))
        assert found == [FIO_BYTES] * 2


def as_vim_does(path: Path, data: bytes) -> None:
    """With a swap file, the old one moved aside, and the new one written in its place."""
    swap, backup = path.with_name(f".{path.name}.swp"), path.with_name(f"{path.name}~")
    with swap.open("xb") as file:
        file.write(b"b0VIM")
        os.fsync(file.fileno())
    path.rename(backup)
    with path.open("xb") as file:
        file.write(data)
        os.fsync(file.fileno())
    path.chmod(backup.stat().st_mode)
    backup.unlink()
    swap.unlink()


def atomically(path: Path, data: bytes) -> None:
    """A new file beside it, made durable, renamed over it."""
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with new.open("xb") as file:
        file.write(data)
        os.fchmod(file.fileno(), path.stat().st_mode)
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def in_place(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(data)


@pytest.mark.parametrize("save", [as_vim_does, atomically, in_place])
def test_editors_save_a_file_again_and_again(draft: Path, artifact: Path, save: Callable[[Path, bytes], None]) -> None:
    path = draft / "train.py"
    path.write_bytes(b"print(0)\n")
    path.chmod(0o755)
    for number in range(1, 30):
        data = b"print(%d)\n" % number * number
        save(path, data)
        assert path.read_bytes() == data
    assert os.listdir(draft) == ["train.py"]
    saved = commit(draft, artifact) / "train.py"
    assert saved.read_bytes() == data
    assert saved.stat().st_mode & 0o777 == 0o555
