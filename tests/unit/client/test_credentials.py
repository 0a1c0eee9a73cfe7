"""Where tokens are kept, who can read them, and which one a server gets."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from artfs.client.credentials import find_token, forget_token, keep_token, server_name
from artfs.errors import InvalidValue, StorageFailed

pytestmark = [pytest.mark.falsifies("access")]

TOKEN = "artfs_ab12_verysecretpart"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config/artfs/credentials.json"


def test_a_token_is_kept_for_its_server_only(path: Path) -> None:
    keep_token("https://a.example:7433", TOKEN, path)
    keep_token("https://b.example", TOKEN + "b", path)
    assert find_token("https://a.example:7433/", path, {}) == TOKEN
    assert find_token("https://b.example:443", path, {}) == TOKEN + "b"
    assert find_token("http://b.example", path, {}) == ""
    assert find_token("https://a.example", path, {}) == ""


def test_only_the_owner_can_read_what_is_kept(path: Path) -> None:
    before = os.umask(0)
    try:
        keep_token("https://a.example", TOKEN, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file for file in path.parent.iterdir() if stat.S_IMODE(file.stat().st_mode) & 0o077] == []


def test_what_others_can_read_is_not_used(path: Path) -> None:
    keep_token("https://a.example", TOKEN, path)
    path.chmod(0o640)
    uses: list[Callable[[], object]] = [
        lambda: find_token("https://a.example", path, {}),
        lambda: keep_token("https://a.example", TOKEN, path),
    ]
    for use in uses:
        with pytest.raises(StorageFailed, match="read by others") as caught:
            use()
        assert "chmod 600" in caught.value.hint


def test_the_environment_wins(path: Path, tmp_path: Path) -> None:
    keep_token("https://a.example", TOKEN, path)
    file = tmp_path / "token"
    file.write_text("artfs_from_file\n")
    assert find_token("https://a.example", path, {"ARTFS_TOKEN_FILE": str(file)}) == "artfs_from_file"
    environ = {"ARTFS_TOKEN": " artfs_from_environ ", "ARTFS_TOKEN_FILE": str(file)}
    assert find_token("https://a.example", path, environ) == "artfs_from_environ"


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "\xe4rtfs", "nul\0", "a\rX-Evil: 1"])
def test_what_is_no_token_is_refused_and_not_told(path: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidValue) as caught:
        find_token("https://a.example", path, {"ARTFS_TOKEN_FILE": str(file)})
    assert not text or text not in str(caught.value)


def test_a_token_is_forgotten_once(path: Path) -> None:
    keep_token("https://a.example", TOKEN, path)
    assert forget_token("https://a.example", path)
    assert not forget_token("https://a.example", path)
    assert find_token("https://a.example", path, {}) == ""
    assert TOKEN not in path.read_text()


def test_a_damaged_file_is_told_without_its_content(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"servers": {TOKEN}')
    path.chmod(0o600)
    with pytest.raises(StorageFailed) as caught:
        find_token("https://a.example", path, {})
    assert "verysecret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "ftp://a", "https://u:p@a", "https://a/path", "https://a?x=1", "http://[::", "a:b"]
)
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        server_name(url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("A.Example", "https://a.example"),
        ("https://a.example:443/", "https://a.example"),
        ("http://[::1]:7433", "http://[::1]:7433"),
    ],
)
def test_a_server_has_one_name(url: str, name: str) -> None:
    assert server_name(url) == name
