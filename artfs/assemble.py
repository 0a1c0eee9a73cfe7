"""Where implementations are chosen: from a configuration to an open client, or to what a mount is made of.

Nothing else constructs a registry, a cache or a staging area.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artfs.config import CacheMode, Config
from artfs.errors import InvalidValue

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache
    from artfs.client.client import Client
    from artfs.client.remembered.registry import RememberingRegistry
    from artfs.fuse.mount_records import MountRecords
    from artfs.registry.sql_registry import SqlRegistry
    from artfs.vfs.door import Door
    from artfs.vfs.kernel import KernelCaches
    from artfs.vfs.ports import Catalog, ObjectSource
    from artfs.vfs.staging_port import StagingArea
    from artfs.vfs.view import View
    from artfs.wire.service import Registry


def open_registry(config: Config) -> Registry:
    """Raises InvalidValue for a registry this artfs cannot speak to, and what opening one raises."""
    if not config.is_remote:
        return open_own_registry(config)
    if not config.registry.startswith(("http://", "https://")):
        raise InvalidValue(
            f"{config.registry!r} is not a registry", hint="name a directory, or a server: https://HOST:PORT"
        )
    from artfs.client.credentials import find_token
    from artfs.client.remote.registry import RemoteRegistry

    token = find_token(config.registry, config.credentials, os.environ)
    spool = config.data_dir / "spool"
    registry = RemoteRegistry(config.registry, token, spool=spool, ca_file=config.ca_file)
    return remembering(config, registry, as_whom=token)


def open_own_registry(config: Config, *, trusted: bool = True) -> SqlRegistry:
    """The registry that this machine holds or administers, open to everything.

    Args:
        trusted: packs are written by this process; otherwise all that arrives is verified.
    """
    from artfs.registry.embedded import EmbeddedRegistry
    from artfs.registry.resources import Verify

    return EmbeddedRegistry(config.registry_dir, verify=Verify.METADATA if trusted else Verify.ALL)


def remembering(config: Config, inner: Registry, as_whom: str = "") -> RememberingRegistry:
    """`inner`, a registry over a network, with what this machine remembers of it; closing it closes `inner`.

    Args:
        as_whom: the token: what one user was told, another is not.
    """
    from hashlib import sha256

    from artfs.client.remembered.answer_file import AnswerFile
    from artfs.client.remembered.registry import RememberingRegistry

    # Not the identity: that is not known before the registry answers.
    name = sha256(f"{config.registry} {as_whom}".encode()).hexdigest()[:32]
    return RememberingRegistry(inner, AnswerFile(config.state_dir / "catalog" / f"{name}.db"))


def open_cache(config: Config, identity: str = "") -> ObjectCache:
    """The cache on local disk, for the objects of the registry with this identity."""
    from artfs.cache.object_cache import ObjectCache

    return ObjectCache(config.cache_dir / "objects", config.cache_size_bytes, identity)


def open_client(config: Config, registry: Registry) -> Client:
    """A client of the open `registry`; closing the client closes both."""
    from artfs.client.client import Client

    cached = config.cache is CacheMode.ALWAYS or (config.cache is CacheMode.AUTO and config.is_remote)
    cache = open_cache(config, registry.identity) if cached else None
    remembered = remembered_part(registry)
    if remembered is None:
        return Client(registry, cache)
    from artfs.client.remote.packs import HttpPacks
    from artfs.client.remote.registry import RemoteRegistry
    from artfs.client.windows import PackWindows

    remote = remembered.inner
    assert isinstance(remote, RemoteRegistry)
    packs = HttpPacks(remote.transport)
    return Client(registry, cache, packs=packs, windows=PackWindows(packs), dates=remembered.file)


def remembered_part(registry: Registry) -> RememberingRegistry | None:
    """What is remembered of `registry`, if anything is."""
    from artfs.client.remembered.registry import RememberingRegistry

    return registry if isinstance(registry, RememberingRegistry) else None


def staging_root(config: Config, identity: str) -> Path:
    """Where the drafts of the registry with this identity are on this machine."""
    return config.data_dir / "staging" / identity


def mount_records(config: Config) -> MountRecords:
    """Where this user's mounts are written down."""
    from artfs.fuse.mount_records import MountRecords

    return MountRecords(config.state_dir, config.runtime_dir)


def creator() -> str:
    """Who versions say made them: `user@host`."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class MountBackend:
    """What `artfs.fuse` serves: an open client, and staging beside it. Made in the mount process, after the fork."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.registry = open_registry(config)
        self._client = open_client(config, self.registry)
        self._remembering = remembered_part(self.registry)
        if self._remembering is not None:
            self._remembering.load()

    @property
    def source(self) -> ObjectSource:
        return self._client.objects

    @property
    def known(self) -> Catalog | None:
        return None if self._remembering is None else self._remembering.known

    def open_staging(self, view: View, door: Door, kernel: KernelCaches) -> StagingArea | None:
        from artfs.vfs.staging.area import Staging

        if view.read_only:
            return None
        root = staging_root(self._config, self.registry.identity)
        return Staging(root, self.source, self._client.uploads, door, created_by=creator())

    def status(self) -> Mapping[str, Any]:
        """`registry` is of the connection to a registry over a network, `disk` of the cache on local disk."""
        shown: dict[str, Any] = {"memory": self._client.objects.status()}
        if self._remembering is not None:
            shown["registry"] = self._remembering.status()
        if self._client.cache is not None:
            shown["disk"] = self._client.cache.status()
        return shown

    def close(self) -> None:
        self._client.close()
