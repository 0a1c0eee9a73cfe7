"""The registries that the objects of this process speak to, opened once each when they are first needed, and closed at exit.

Owner of what is open, under a lock. A forked child has nothing open: objects that it inherited open for themselves what they
need, and what is its parent's is left alone.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from artfs.model.names import check_name

if TYPE_CHECKING:
    from artfs.client.client import Client
    from artfs.client.files import FileReader
    from artfs.config import Config
    from artfs.wire.service import Registry

_IDENTIFYING = ("registry", "database", "storage", "encryption_keys", "ca_file", "cache", "cache_dir", "data_dir")

Key = str


class Session:
    """A registry, and who uses it. Safe to use from several threads, and in forked children."""

    def __init__(self, config: Config, key: Key) -> None:
        self.config = config
        self._key = key

    @property
    def client(self) -> Client:
        """This process's, opened if need be."""
        return _opened(self._key, self.config).client

    @property
    def registry(self) -> Registry:
        """This process's, opened if need be."""
        return self.client.registry

    def files(self, project: str) -> FileReader:
        """This process's reader of files of a project."""
        return _opened(self._key, self.config).files(project)

    @cached_property
    def entity(self) -> str:
        """The caller's name: on a server, or on this machine where there is none."""
        if self.config.is_remote:
            return self.registry.access.users.me().user.name
        return self.creator.partition("@")[0]

    @property
    def creator(self) -> str:
        """Who versions and runs say made them."""
        from artfs.assemble import creator

        return creator()

    def project(self, name: str | None) -> str:
        """`name`, or the project of what names none."""
        return check_name("project", name) if name else self.config.project


class _Open:
    """What one process has open of a registry."""

    def __init__(self, config: Config) -> None:
        from artfs.assemble import open_client, open_registry

        registry = open_registry(config)
        try:
            self.client = open_client(config, registry)
        except BaseException:
            registry.close()
            raise
        self._files: dict[str, FileReader] = {}

    def files(self, project: str) -> FileReader:
        from artfs.client.files import FileReader

        return self._files.setdefault(project, FileReader(self.client.objects, project))


_lock = threading.Lock()
_open: dict[Key, _Open] = {}
_inherited: list[_Open] = []  # kept, so that nothing of the parent's is closed from here


def session(settings: Mapping[str, str | None] | None = None) -> Session:
    """The session with the registry that the configuration of this process, or `settings`, name."""
    from artfs.assemble import configured

    config = configured(settings or {})
    secrets = (os.environ.get("ARTFS_TOKEN", ""), os.environ.get("ARTFS_TOKEN_FILE", ""))
    identifying = (*(str(getattr(config, name)) for name in _IDENTIFYING), *secrets)
    return Session(config, sha256("\0".join(identifying).encode()).hexdigest())  # a digest: objects may be pickled


def close_sessions() -> None:
    """Close all that is open; what is needed afterwards is opened again."""
    with _lock:
        opened = list(_open.values())
        _open.clear()
    for one in opened:
        one.client.close()


def _opened(key: Key, config: Config) -> _Open:
    with _lock:
        if key not in _open:
            _open[key] = _Open(config)
        return _open[key]


def _begin_child() -> None:
    global _lock
    _lock = threading.Lock()
    _inherited.extend(_open.values())
    _open.clear()


os.register_at_fork(after_in_child=_begin_child)
atexit.register(close_sessions)
