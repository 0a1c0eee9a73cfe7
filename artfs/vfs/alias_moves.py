"""Watching the registry for what other processes change, so that the kernel forgets old meanings of names at once.

The kernel keeps names in catalog directories for a second, which alone keeps the promise of two; this makes it mostly a
fifth of a second. A registry that does not answer is asked again, ever less often. Owner of the position: the watcher's task.
"""

from __future__ import annotations

import logging

import trio

from artfs.errors import ArtfsError
from artfs.model.names import LATEST
from artfs.vfs.attributes import ROOT_INODE
from artfs.vfs.door import Door, Lane
from artfs.vfs.inodes import Inodes
from artfs.vfs.kernel import KernelCaches
from artfs.vfs.nodes import ArtifactNode, Node, ProjectNode
from artfs.wire.records import Change
from artfs.wire.service import Registry

POLL_S = 0.2
RETRY_S_MAX = 5.0
CHANGES_MAX = 1000  # read at once; the rest at the next look

_log = logging.getLogger(__name__)


class AliasWatcher:
    """Follows the registry's changes and tells the kernel what to forget."""

    def __init__(self, registry: Registry, door: Door, inodes: Inodes, kernel: KernelCaches) -> None:
        self._registry = registry
        self._door = door
        self._inodes = inodes
        self._kernel = kernel
        self._hurry = trio.Event()
        self.last_error = ""

    def moved_here(self, artifact: int) -> None:
        """This mount itself moved aliases in the directory `artifact`: do not wait for the next look."""
        self._kernel.forget_entry(artifact, LATEST)  # whoever renames next reads through it
        self._hurry.set()

    async def run(self) -> None:
        """Follow until cancelled. One task of the mount."""
        position: int | None = None
        pause_s = POLL_S
        while True:
            try:
                position = await self._look(position)
                pause_s, self.last_error = POLL_S, ""
            except ArtfsError as error:
                if not self.last_error:
                    _log.warning("cannot see what changes in the registry: %s", error)
                pause_s, self.last_error = min(2 * pause_s, RETRY_S_MAX), str(error)
            with trio.move_on_after(pause_s):
                await self._hurry.wait()
            self._hurry = trio.Event()

    async def _look(self, seen: int | None) -> int:
        position = await self._door.run(Lane.METADATA, self._registry.changes.position)
        if seen is None or position == seen:
            return position
        changes = await self._door.run(Lane.METADATA, self._registry.changes.since, seen, CHANGES_MAX)
        for change in changes:
            self._forget(change)
        return changes[-1].seq if changes else position

    def _forget(self, change: Change) -> None:
        for number, node in self._inodes.nodes.catalog():
            if _holds(node, change):
                self._kernel.forget_attributes(number)
                for name in _names(node, change):
                    self._kernel.forget_entry(number, name)
        if change.kind == "project":
            self._kernel.forget_entry(ROOT_INODE, change.project)


def _holds(node: Node, change: Change) -> bool:
    """Whether the change is of a name in the directory `node`."""
    if isinstance(node, ProjectNode):
        return node.project == change.project and change.kind == "artifact"
    return (
        isinstance(node, ArtifactNode)
        and (node.project, node.artifact) == (change.project, change.artifact)
        and change.kind in ("version", "alias")
    )


def _names(node: Node, change: Change) -> tuple[str, ...]:
    if isinstance(node, ProjectNode):
        return (change.artifact,)
    return (change.name, LATEST) if change.kind == "version" else (change.name,)
