"""The open registry that the objects of this process speak to, opened once each and closed at exit.

Owner of the open sessions, under a lock. A forked child has none: it opens its own, and leaves its parent's alone.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from artfs.model.names import check_name

if TYPE_CHECKING:
    from artfs.client.client import Client
    from artfs.config import Config
    from artfs.wire.service import Registry

_IDENTIFYING = ("registry", "database", "storage", "encryption_keys", "ca_file", "cache", "cache_dir", "data_dir")


class Session:
    """A registry and its client, and who uses them. Safe to use from several threads."""

    def __init__(self, config: Config) -> None:
        from artfs.assemble import open_client, open_registry

        self.config = config
        self.registry: Registry = open_registry(config)
        try:
            self.client: Client = open_client(config, self.registry)
        except BaseException:
            self.registry.close()
            raise

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

    def close(self) -> None:
        self.client.close()


_lock = threading.Lock()
_sessions: dict[tuple[str, ...], Session] = {}
_inherited: list[Session] = []  # kept, so that nothing of the parent's is closed from here


def session(settings: Mapping[str, str | None] | None = None) -> Session:
    """The session of this process with the registry that its configuration, or `settings`, name."""
    from artfs.assemble import configured

    config = configured(settings or {})
    key = (*(str(getattr(config, name)) for name in _IDENTIFYING), os.environ.get("ARTFS_TOKEN", ""), config.project)
    with _lock:
        if key not in _sessions:
            _sessions[key] = Session(config)
        return _sessions[key]


def close_sessions() -> None:
    """Close all; whoever asks for one again gets a new one."""
    with _lock:
        opened = list(_sessions.values())
        _sessions.clear()
    for one in opened:
        one.close()


def _begin_child() -> None:
    global _lock
    _lock = threading.Lock()
    _inherited.extend(_sessions.values())
    _sessions.clear()


os.register_at_fork(after_in_child=_begin_child)
atexit.register(close_sessions)
