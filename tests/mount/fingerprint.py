"""Everything that a program can see of a tree, as find and sha256sum tell it: to compare a version with its source."""

from __future__ import annotations

import subprocess
from pathlib import Path

READ_ONLY = {"f": "444", "x": "555", "d": "555", "l": "777"}
_EXECUTABLE = 0o111


def fingerprint(root: Path, *, modes_of_versions: bool = False) -> list[str]:
    """Lines of kind, mode, size, name, link target and SHA-256, sorted.

    Args:
        modes_of_versions: of a source: the modes that its files have in a version.
    """
    lines = []
    digests = _digests(root)
    done = subprocess.run(
        ["find", ".", "-mindepth", "1", "-printf", r"%y\t%m\t%s\t%P\t%l\0"],
        cwd=root,
        capture_output=True,
        check=True,
        timeout=300,
    )
    for line in done.stdout.decode().split("\0")[:-1]:
        kind, mode, size, name, target = line.split("\t")
        if modes_of_versions:
            mode = READ_ONLY["x" if kind == "f" and int(mode, 8) & _EXECUTABLE else kind]
        lines.append("\t".join((kind, mode, size if kind != "d" else "", name, target, digests.get(name, ""))))
    return sorted(lines)


def _digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file by name, by sha256sum."""
    find = subprocess.run(
        ["find", ".", "-type", "f", "-print0"], cwd=root, capture_output=True, check=True, timeout=300
    )
    if not find.stdout:
        return {}
    words = ["xargs", "-0", "sha256sum", "-z", "--"]
    done = subprocess.run(words, cwd=root, input=find.stdout, capture_output=True, check=True, timeout=300)
    lines = done.stdout.decode().split("\0")[:-1]
    return {name.removeprefix("./"): digest for digest, _, name in (line.partition("  ") for line in lines)}
