"""Which API key a W&B server gets, and that no other one's is sent to it, nor told."""

from __future__ import annotations

from pathlib import Path

import pytest

from artfs.errors import InvalidValue, NotAuthenticated, StorageFailed
from artfs.wandb_client.address import WandbAddress, parse_address
from artfs.wandb_client.credentials import find_api_key

KEY = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
CLOUD = parse_address("wandb+https://api.wandb.ai/team")
LOCAL = parse_address("wandb+http://localhost:8080/team")


def netrc_file(home: Path, text: str, name: str = ".netrc") -> Path:
    path = home / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def machine(host: str, key: str) -> str:
    return f"machine {host}\n  login user\n  password {key}\n"


@pytest.mark.parametrize("base_url", ["", "https://api.wandb.ai", "https://api.wandb.ai/", "https://api.wandb.ai:443"])
def test_the_environment_has_the_key_for_the_server_that_it_names(tmp_path: Path, base_url: str) -> None:
    netrc_file(tmp_path, machine("api.wandb.ai", OTHER))
    assert find_api_key(CLOUD, {"WANDB_API_KEY": f"{KEY}\n", "WANDB_BASE_URL": base_url}, tmp_path) == KEY


@pytest.mark.parametrize("base_url", ["http://localhost:8080", "https://api.wandb.ai:8443", "nonsense"])
def test_a_key_for_another_server_is_not_sent(tmp_path: Path, base_url: str) -> None:
    environ = {"WANDB_API_KEY": OTHER, "WANDB_BASE_URL": base_url}
    with pytest.raises(NotAuthenticated, match="another server") as raised:
        find_api_key(CLOUD, environ, tmp_path)
    assert OTHER not in str(raised.value)
    netrc_file(tmp_path, machine("api.wandb.ai", KEY))
    assert find_api_key(CLOUD, environ, tmp_path) == KEY


@pytest.mark.parametrize("host", ["localhost", "localhost:8080"])
def test_what_wandb_login_wrote_is_found(tmp_path: Path, host: str) -> None:
    netrc_file(tmp_path, machine("api.wandb.ai", OTHER) + machine(host, KEY))
    assert find_api_key(LOCAL, {}, tmp_path) == KEY


def test_the_netrc_file_may_be_elsewhere(tmp_path: Path) -> None:
    netrc_file(tmp_path, machine("api.wandb.ai", OTHER))
    path = netrc_file(tmp_path, machine("api.wandb.ai", KEY), "elsewhere")
    assert find_api_key(CLOUD, {"NETRC": str(path)}, tmp_path) == KEY
    assert find_api_key(CLOUD, {}, tmp_path) == OTHER


@pytest.mark.parametrize("text", ["", machine("other.example", OTHER), f"default login user password {OTHER}\n"])
def test_without_a_key_it_is_said_how_to_get_one(tmp_path: Path, text: str) -> None:
    for _ in range(2):
        with pytest.raises(NotAuthenticated) as raised:
            find_api_key(CLOUD, {}, tmp_path)
        assert "wandb login" in raised.value.hint
        assert "WANDB_API_KEY" in raised.value.hint
        netrc_file(tmp_path, text)


@pytest.mark.parametrize("text", [f"machine api.wandb.ai {KEY}\n", f"nonsense {KEY}"])
def test_a_damaged_netrc_file_is_not_quoted(tmp_path: Path, text: str) -> None:
    netrc_file(tmp_path, text)
    with pytest.raises(InvalidValue) as raised:
        find_api_key(CLOUD, {}, tmp_path)
    assert KEY not in str(raised.value)


def test_a_netrc_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / ".netrc").mkdir()
    with pytest.raises(StorageFailed):
        find_api_key(CLOUD, {}, tmp_path)


@pytest.mark.parametrize("key", [" ", "two words", "ключ"])
def test_what_cannot_be_a_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidValue, match="WANDB_API_KEY") as raised:
        find_api_key(WandbAddress("https://h", ""), {"WANDB_API_KEY": key}, tmp_path)
    assert not key.strip() or key not in str(raised.value)
