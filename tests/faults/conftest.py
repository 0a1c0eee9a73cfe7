"""A registry behind a server, and the way there, which loses what it is told to lose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.client.remote.registry import RemoteRegistry
from artfs.client.remote.transport import Outside
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.resources import Verify
from tests.network.proxy import Proxy
from tests.network.served import admin_token, served


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """The way to a server over an empty registry."""
    with served(lambda: EmbeddedRegistry(tmp_path / "registry", verify=Verify.ALL)) as url, Proxy.to(url) as way:
        yield way


@pytest.fixture
def remote(tmp_path: Path, proxy: Proxy) -> Iterator[RemoteRegistry]:
    own = EmbeddedRegistry(tmp_path / "registry")
    token = admin_token(own)
    own.close()
    opened = RemoteRegistry(proxy.url, token, spool=tmp_path / "spool", outside=Outside(sleep=lambda _: None))
    opened.projects.create("vision")
    proxy.reset_counts()
    yield opened
    opened.close()
