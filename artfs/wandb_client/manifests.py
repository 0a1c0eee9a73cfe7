"""A version's manifest, from where it was kept on this machine or from the server."""

from __future__ import annotations

import logging
from collections.abc import Callable

from artfs.errors import DamagedObject, UsageError
from artfs.wandb_client.manifest_files import ManifestFiles
from artfs.wandb_client.versions import WandbVersion
from artfs.wire.wandb_manifests import Manifest, decode_manifest

_log = logging.getLogger(__name__)


class Manifests:
    """Args:
    ask: the bytes, from the server.
    files: where they are kept; None for nowhere.
    """

    def __init__(self, ask: Callable[[WandbVersion], bytes | bytearray], files: ManifestFiles | None) -> None:
        self._ask = ask
        self._files = files

    def read(self, version: WandbVersion) -> Manifest:
        """Raises DamagedObject for what is no manifest, and what asking raises."""
        kept = None if self._files is None else self._files.find(version.root)
        data = self._ask(version) if kept is None else kept
        try:
            manifest = decode_manifest(data)
        except UsageError as error:
            raise DamagedObject(f"the manifest of {version.name} cannot be read: {error.message}") from None
        if kept is not None or self._files is None:
            return manifest
        if manifest.digest == version.digest:
            self._files.keep(version.root, data)
        else:
            _log.warning("the manifest of %s has not the digest that its server names; it is not kept", version.name)
        return manifest
