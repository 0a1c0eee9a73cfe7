"""Addresses of W&B servers as users write them."""

from __future__ import annotations

import pytest

from artfs.errors import InvalidValue
from artfs.wandb_client.address import WandbAddress, parse_address


@pytest.mark.parametrize(
    ("text", "url", "entity"),
    [
        ("wandb+https://api.wandb.ai/my-team", "https://api.wandb.ai", "my-team"),
        ("wandb+https://api.wandb.ai", "https://api.wandb.ai", ""),
        ("wandb+https://API.wandb.ai:443/my-team/", "https://api.wandb.ai", "my-team"),
        ("wandb+http://localhost:8080/geoff", "http://localhost:8080", "geoff"),
        ("wandb+http://[::1]:8080/geoff", "http://[::1]:8080", "geoff"),
        ("wandb+http://localhost:80", "http://localhost", ""),
        ("wandb+http://localhost:443", "http://localhost:443", ""),
    ],
)
def test_an_address_names_a_server_and_an_entity(text: str, url: str, entity: str) -> None:
    assert parse_address(text) == WandbAddress(url, entity)
    assert parse_address(str(parse_address(text))) == WandbAddress(url, entity)


@pytest.mark.parametrize(
    "text",
    [
        "https://api.wandb.ai/my-team",
        "wandb+ftp://api.wandb.ai",
        "wandb+https:///my-team",
        "wandb+https://api.wandb.ai:0/my-team",
        "wandb+https://api.wandb.ai:port/my-team",
        "wandb+https://api.wandb.ai/my-team/project",
        "wandb+https://api.wandb.ai/my team",
        "wandb+https://api.wandb.ai/my-team?key=1",
        "wandb+https://api.wandb.ai/my-team#x",
        "wandb+https://wandb.ai/my-team",
        "wandb+https://app.wandb.ai/my-team",
    ],
)
def test_anything_else_is_refused_with_the_form_to_write(text: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        parse_address(text)
    assert "wandb+https://" in raised.value.hint


def test_a_key_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidValue) as raised:
        parse_address("wandb+https://api:verysecret@api.wandb.ai/my-team")
    assert "verysecret" not in str(raised.value)
