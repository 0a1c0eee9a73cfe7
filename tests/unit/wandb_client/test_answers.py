"""Which error an answer of a W&B server is, and that nothing is taken for data that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from artfs.client.remote.connections import Answer
from artfs.errors import (
    AccessDenied,
    ArtfsError,
    NotAuthenticated,
    NotFound,
    RegistryUnavailable,
    TooManyRequests,
)
from artfs.wandb_client.answers import data_of

SERVER = "https://w.example"


def answer(status: int, body: Any, **headers: str) -> Answer:
    return Answer(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def errors(message: str, **more: Any) -> dict[str, Any]:
    return {"errors": [{"message": message, "path": ["project"], **more}], "data": {"project": None}}


def test_data_is_what_was_asked_for() -> None:
    assert json.loads(bytes(data_of(answer(200, {"data": {"a": 1}, "extensions": {}}), SERVER))) == {"a": 1}
    assert json.loads(bytes(data_of(answer(200, {"data": {"a": 1}, "errors": []}), SERVER))) == {"a": 1}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, errors("user is not logged in"), NotAuthenticated),
        (401, b"<html>log in</html>", NotAuthenticated),
        (403, errors("permission denied"), AccessDenied),
        (403, b"", AccessDenied),
        (404, errors("project not found"), NotFound),
        (404, b"<html>no such page</html>", RegistryUnavailable),
        (429, errors("rate limit exceeded"), TooManyRequests),
        (429, b"slow down", TooManyRequests),
        (500, errors("not found, or so"), RegistryUnavailable),
        (200, errors("permission denied"), AccessDenied),
        (200, errors("no", extensions={"code": "PERMISSION_ERROR"}), AccessDenied),
        (200, errors("no", extensions={"code": "UNAUTHENTICATED"}), NotAuthenticated),
        (200, errors("could not find project x"), NotFound),
        (200, errors("no", extensions={"code": "NOT_FOUND"}), NotFound),
        (400, errors('Cannot query field "artifactType"'), RegistryUnavailable),
        (200, {"errors": ["permission denied"]}, AccessDenied),
        (200, {"errors": [{}]}, RegistryUnavailable),
        (200, {"data": None}, RegistryUnavailable),
        (200, {}, RegistryUnavailable),
        (200, [], RegistryUnavailable),
        (200, b"<html>Log in to the guest network</html>", RegistryUnavailable),
        (200, b'{"data": {"a": ', RegistryUnavailable),
        (200, b"\xff\xfe", RegistryUnavailable),
        (200, b"[" * 100_000, RegistryUnavailable),
        (302, b"", RegistryUnavailable),
        (302, {"data": {"a": 1}}, RegistryUnavailable),
        (502, {"data": {"a": 1}}, RegistryUnavailable),
    ],
)
def test_an_error_is_of_the_kind_that_the_server_tells(status: int, body: Any, kind: type[ArtfsError]) -> None:
    with pytest.raises(ArtfsError) as raised:
        data_of(answer(status, body), SERVER)
    assert type(raised.value) is kind
    assert SERVER in raised.value.message


def test_the_servers_words_are_passed_on_but_not_without_bound() -> None:
    with pytest.raises(NotFound, match="project x not found"):
        data_of(answer(404, errors("project x not found")), SERVER)
    with pytest.raises(RegistryUnavailable) as raised:
        data_of(answer(200, errors("x" * 1_000_000)), SERVER)
    assert len(raised.value.message) < 3000


def test_a_server_that_asks_to_slow_down_says_for_how_long() -> None:
    with pytest.raises(TooManyRequests) as raised:
        data_of(answer(429, b"", **{"Retry-After": "7"}), SERVER)
    assert raised.value.retry_after_s == 7
