"""What artfs promises, in the words of docs/semantics.md, and which tests try to falsify it.

A test says so by `pytest.mark.falsifies(NAME, ...)`, for a module in `pytestmark`.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMISES = {
    "verified": "A reader never gets a byte that does not match its digest.",
    "whole": "A version is there completely or not at all, and never changes.",
    "durable": "A rename or `put` that returned success survives the power loss of the client, and is durable in the registry.",
    "once": "A commit whose answer is lost, repeated or cut is there once or not at all.",
    "one-version": "Through one open directory or file one version is seen, never a mix; an alias never goes back.",
    "seen-soon": "An alias that anybody moves is seen moved within two seconds on every mount.",
    "lazy": "`mount`, `ls -lR` and `stat` fetch no content; sixteen readers of one cold chunk cause one request.",
    "read-only": "A version is read-only, for root too, whatever the call.",
    "times": "What did not change keeps its modification time, from version to version.",
    "fsync": "What `fsync` in a draft confirmed survives a kill and a remount.",
    "bounded": "Memory, descriptors, threads and temporary files return to where they were.",
    "draft-kept": "A failed commit loses nothing: the draft is there, complete, after a crash and a remount too.",
    "refused": "What a version cannot hold is refused by name or at the call, never left out.",
    "changes": "Who change one version at once lose nothing that they did not both change.",
    "deletion": "Deleting frees exactly what nothing else holds, at once; a concurrent upload never loses an object.",
    "cache-limit": "The cache keeps to its limit, shared by all processes; a full disk gives slower reads, not errors.",
    "no-hang": "A dead or slow registry hangs no process; cached data stays readable; when it is back no remount is needed.",
    "access": "Nobody reads, writes or learns of what their role does not allow; tokens are in no log, process list or file.",
    "supervised": "When the mount process is killed, a supervisor mounts again within two seconds, and nothing is lost.",
    "posix": "A draft is an ordinary directory: what works on a local disk works there.",
    "model": "The mount, the registry and the cache do what a plain model of them does, whatever the order of operations.",
    "no-end": "No internal error ends the mount: no space, I/O errors, no descriptors, threads or memory (16 KiB), at any call.",
    "hostile": "Names, trees, packs and messages made to do harm do none, in bounded time and memory.",
    "references": "A reference whose source changed is an error: never other bytes, never a mix of two states.",
    "lineage": "Of a run exactly what it read from a mount is noted as used, and what it committed as logged.",
}
"""The name by which tests call a promise, and the promise."""


def files_of_promises() -> dict[str, list[str]]:
    """The files of tests, below the project's root, that try to falsify each promise, by their marks; nothing is imported."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if "falsifies" in text:
            for name in _named(ast.parse(text)):
                found[name].add(str(file.relative_to(ROOT)))
    return {name: sorted(found[name]) for name in [*PROMISES, *sorted(set(found) - set(PROMISES))]}


def _named(tree: ast.Module) -> list[str]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    marks = (call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "falsifies")
    return [
        argument.value
        for mark in marks
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def main(arguments: Sequence[str]) -> int:
    """Print the files of tests of the promises that are named."""
    for name in arguments:
        if name not in PROMISES:
            sys.stderr.write(f"there is no promise {name}: {', '.join(PROMISES)}\n")
            return 2
        sys.stdout.writelines(f"{file}\n" for file in files_of_promises()[name])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
