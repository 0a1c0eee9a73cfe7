"""Contents that mount tests put, and programs they run over them."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.contract.uploading import Tree

_RANDOM = random.Random(1)
LARGE = _RANDOM.randbytes(9 << 20)
TREE: Tree = {
    "readme.txt": b"hello\n",
    "empty": b"",
    "link": "readme.txt",
    "dangling": "no/where",
    "large.bin": LARGE,
    "nothing": {},
    "sub": {f"{i:04}.dat": _RANDOM.randbytes(i * 7) for i in range(600)},
    "deep": {"er": {"and": {"deeper": b"down"}}},
    "ünï ✓": {"日本語.txt": "ü".encode() * 99},
    "n" * 255: b"a long name",
}


def write_tree(directory: Path, tree: Tree) -> Path:
    """Write `tree` as ordinary files."""
    directory.mkdir()
    for name, value in tree.items():
        if isinstance(value, bytes):
            (directory / name).write_bytes(value)
        elif isinstance(value, str):
            (directory / name).symlink_to(value)
        else:
            write_tree(directory / name, value)
    return directory


def run(*command: str | Path, timeout_s: float = 120) -> str:
    """What a program that must succeed prints."""
    words = list(map(str, command))
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout
