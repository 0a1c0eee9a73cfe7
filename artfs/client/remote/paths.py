"""Paths of the API, with names quoted, and whole lists from pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from artfs.client.remote.transport import Transport
from artfs.errors import InvalidName, RegistryUnavailable
from artfs.wire.http import API, PAGE_MAX, Page

_T = TypeVar("_T")


def path(*parts: str) -> str:
    """A path below the API's root. Raises InvalidName for a part that would lead elsewhere, or cannot be written."""
    return "/".join((API, *map(_quoted, parts)))


def _quoted(part: str) -> str:
    if part in ("", ".", ".."):
        raise InvalidName(f"{part!r} is not a name")
    try:
        return quote(part, safe="")
    except UnicodeEncodeError:
        raise InvalidName(f"{part!r} is not a name") from None


def project_path(project: str, *parts: str) -> str:
    return path("projects", project, *parts)


def artifact_path(project: str, artifact: str, *parts: str) -> str:
    return project_path(project, "artifacts", artifact, *parts)


def all_pages(
    transport: Transport,
    url: str,
    type_: type[Page[_T]],
    *,
    after: str | int = "",
    limit: int | None = None,
    query: Mapping[str, Any] | None = None,
) -> list[_T]:
    """The items of a list from `after` on, `limit` at most."""
    found: list[_T] = []
    following: str | int | None = after
    while following is not None and (limit is None or len(found) < limit):
        wanted = PAGE_MAX if limit is None else min(PAGE_MAX, limit - len(found))
        asked = {**(query or {}), "limit": wanted}
        if following not in ("", -1):
            asked["after"] = following
        page = transport.get(url, type_, asked)
        found += page.items
        if page.next is not None and (page.next == following or not page.items):
            raise RegistryUnavailable(f"{transport.url} answers a list without end", hint="is it an artfs server?")
        following = page.next
    return found
