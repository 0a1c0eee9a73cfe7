"""Watching the registry for what other processes change, so that the kernel forgets old meanings of names at once.

The kernel keeps names in catalog directories for a second, which alone keeps the promise of two; this makes it mostly a
fifth of a second. A registry on this machine is looked at every POLL_S; one over a network tells by answering a call that waits.
One that does not answer is asked again, ever less often, and then tells all that was missed. Owner of the position: the
watcher's task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

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
WAIT_S = 10.0  # how long a call waits for a change
RETRY_S_MAX = 2.0
CHANGES_MAX = 1000  # read at once

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_log = logging.getLogger(__name__)


class AliasWatcher:
    """Follows the registry's changes and tells the kernel what to forget.

    Args:
        waits: have the registry answer when something changes, rather than look again and again.
    """

    def __init__(
        self, registry: Registry, door: Door, inodes: Inodes, kernel: KernelCaches, *, waits: bool = False
    ) -> None:
        self._registry = registry
        self._door = door
        self._inodes = inodes
        self._kernel = kernel
        self._waits = waits
        self._hurry = trio.Event()
        self.last_error = ""

    def moved_here(self, artifact: int) -> None:
        """This mount itself moved aliases in the directory `artifact`: do not wait for the next look."""
        self._kernel.forget_entry(artifact, LATEST)  # whoever renames next reads through it
        self._hurry.set()

    async def run(self) -> None:
        """Follow until cancelled. One task of the mount."""
        position: int | None = None
        retry_s = POLL_S
        while True:
            began_s = trio.current_time()
            try:
                seen, position = position, await self._look(position)
                retry_s, self.last_error = POLL_S, ""
                pause_s = 0.0 if self._waits and (seen != position or _waited(began_s)) else POLL_S
            except ArtfsError as error:
                if not self.last_error:
                    _log.warning("cannot see what changes in the registry: %s", error)
                pause_s = retry_s = min(2 * retry_s, RETRY_S_MAX)
                self.last_error = str(error)
            with trio.move_on_after(pause_s):
                await self._hurry.wait()
            self._hurry = trio.Event()

    async def _look(self, seen: int | None) -> int:
        changes = self._registry.changes
        if seen is None or not self._waits:
            position = await self._ask(changes.position)
        else:
            position = await self._ask(changes.wait, seen, WAIT_S)
        if seen is None:
            return position
        if position < seen:  # the registry was put back to an earlier state
            self._forget_all()
            return await self._ask(changes.position)
        if position > seen:
            return await self._catch_up(seen, position)
        return position

    async def _catch_up(self, seen: int, position: int) -> int:
        """Tell the kernel of the changes after `seen`. Not all up to `position` are ours to see."""
        while True:
            changes = await self._ask(self._registry.changes.since, seen, CHANGES_MAX)
            for change in changes:
                self._forget(change)
            seen = changes[-1].seq if changes else seen
            if len(changes) < CHANGES_MAX:
                return max(seen, position)

    async def _ask(self, function: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """Unmounting does not wait for a registry far away; one on this machine is closed only when nobody uses it."""
        if self._waits:
            return await self._door.wait(Lane.FEED, function, *args)
        return await self._door.run(Lane.FEED, function, *args)

    def _forget(self, change: Change) -> None:
        for number, node in self._inodes.nodes.catalog():
            if _holds(node, change):
                self._kernel.forget_attributes(number)
                for name in _names(node, change):
                    self._kernel.forget_entry(number, name)
        if change.kind == "project":
            self._kernel.forget_entry(ROOT_INODE, change.project)

    def _forget_all(self) -> None:
        for number, _ in self._inodes.nodes.catalog():
            self._kernel.forget_attributes(number)
            self._kernel.forget_entry(number, LATEST)


def _waited(began_s: float) -> bool:
    """Whether a call that found nothing took its time; one that answers at once is not to be repeated at once."""
    return trio.current_time() - began_s > POLL_S


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
