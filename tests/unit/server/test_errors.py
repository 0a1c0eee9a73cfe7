"""Every error has a status, and tells no more than a caller may know."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from artfs import errors
from artfs.server.errors import STATUSES, error_response
from artfs.wire import json
from artfs.wire.http import ErrorBody

pytestmark = [pytest.mark.falsifies("access")]


def all_errors(base: type[errors.ArtfsError] = errors.ArtfsError) -> Iterator[type[errors.ArtfsError]]:
    yield base
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from all_errors(child)


def told(error: errors.ArtfsError) -> ErrorBody:
    return json.decode(bytes(error_response(error).body), ErrorBody)


def test_every_error_class_has_a_status_and_every_status_a_class() -> None:
    assert set(STATUSES) == {cls.code for cls in all_errors()}


@pytest.mark.parametrize("cls", list(all_errors()))
def test_an_error_is_told_by_its_own_code(cls: type[errors.ArtfsError]) -> None:
    assert told(cls("something happened")).code == cls.code


@pytest.mark.parametrize("cls", [c for c in all_errors() if STATUSES[c.code] >= 500 and c is not errors.Unavailable])
def test_a_failure_of_the_server_tells_nothing_of_its_inside(cls: type[errors.ArtfsError]) -> None:
    body = told(cls("cannot write /srv/artfs/registry.db", hint="look at /srv"))
    assert "/srv" not in body.message + body.hint


@pytest.mark.parametrize("status", [429, 503])
def test_who_should_come_again_is_told_when(status: int) -> None:
    for cls in all_errors():
        if STATUSES[cls.code] == status:
            assert int(error_response(cls("busy")).headers["Retry-After"]) >= 1
    assert error_response(errors.TooManyRequests("slower", retry_after_s=2.2)).headers["Retry-After"] == "3"


def test_every_reason_for_refusing_a_token_is_told_alike() -> None:
    first, second = (error_response(errors.NotAuthenticated(text)) for text in ("expired", "unknown"))
    assert first.body == second.body
    assert first.headers == second.headers
