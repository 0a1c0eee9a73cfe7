"""A registry for scripts to use, embedded or over a real server, and what they put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from artfs.api.session import close_sessions, session
from artfs.client.put import put
from artfs.wire.records import NO_ROOT, SealRequest, VersionRecord
from tests.integration.serving import Place

Files = Mapping[str, bytes | str]
Putting = Callable[..., VersionRecord]


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URL of a server that all tests of this process share, and a token of its user `geoff`."""
    place = Place(tmp_path_factory.mktemp("server"))
    token = place.user("geoff")
    with place.serving() as server:
        yield server.url, token


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What scripts of this test find in their environment: a registry, a project of the test's own, and a working directory."""
    monkeypatch.setenv("ARTFS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ARTFS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ARTFS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ARTFS_PROJECT", f"p-{tmp_path.name}"[:64].rstrip("-"))
    if request.param == "embedded":
        monkeypatch.setenv("ARTFS_REGISTRY", str(tmp_path / "registry"))
    else:
        url, token = request.getfixturevalue("server_url")
        monkeypatch.setenv("ARTFS_REGISTRY", url)
        monkeypatch.setenv("ARTFS_TOKEN", token)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield request.param
    close_sessions()


def write_files(root: Path, files: Files) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@pytest.fixture
def make(place: str, tmp_path: Path) -> Putting:
    """Put files as a version, as `artfs put` does: `make("bikes", {"a.txt": "a"}, aliases=["best"])`."""
    count = 0

    def put_files(artifact: str, files: Files, **request: object) -> VersionRecord:
        nonlocal count
        count += 1
        now = session()
        source = write_files(tmp_path / f"source{count}", files)
        wanted = SealRequest(artifact, NO_ROOT, **request)  # type: ignore[arg-type]  # of whichever names a test gives
        return put(now.client, now.config.project, source, wanted).version

    return put_files
