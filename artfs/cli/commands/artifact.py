"""`artfs artifact ...`: put, get, ls and cache under the names that W&B gave them."""

from __future__ import annotations

from artfs.cli.lazy import LazyGroup

command = LazyGroup(
    "artifact",
    commands_in="artfs.cli.commands",
    table={
        "put": "Store a directory or file as a new version.",
        "get": "Write a version to a directory.",
        "ls": "List projects, artifacts, versions or files.",
        "cache": "Inspect, shrink or verify the local cache.",
    },
    help="The same commands under their W&B names.",
)
