"""What a mount process is made from: the parts below the filesystem, chosen and opened by `artfs.assemble`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from artfs.vfs.door import Door
from artfs.vfs.kernel import KernelCaches
from artfs.vfs.ports import Catalog, ObjectSource
from artfs.vfs.staging_port import StagingArea
from artfs.vfs.view import View
from artfs.wire.service import Registry


class Backend(Protocol):
    """An open registry and what reads from and writes to it. Opened after the fork, closed when the mount ends."""

    @property
    def registry(self) -> Registry: ...
    @property
    def source(self) -> ObjectSource: ...
    @property
    def known(self) -> Catalog | None:
        """What is remembered of the registry's catalog; None for a registry on this machine."""

    def open_staging(self, view: View, door: Door, kernel: KernelCaches) -> StagingArea | None:
        """Drafts of a writable mount; None if there is no place for any. Called on the event loop, once."""

    def status(self) -> Mapping[str, Any]:
        """Numbers of caches and transfers, for `artfs status`; JSON-encodable, quick."""

    def close(self) -> None: ...


OpenBackend = Callable[[], Backend]
"""Opens the backend in the mount process. Raises ArtfsError, which is shown to whoever mounts."""
