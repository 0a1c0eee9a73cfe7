"""Names of projects, artifacts, aliases, versions and files, and references such as `vision/bikes:best/img/1.png`.

One rule for the three kinds of registry names, so that each is a directory name, a URL path segment and a shell word
without quoting. Names of files inside a version are any UTF-8 that a Linux directory can hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from artfs.errors import InvalidName, InvalidValue

NAME_BYTES_MAX = 128
FILE_NAME_BYTES_MAX = 255
LABEL_CHARACTERS_MAX = 128
STAGING_NAME = ".staging"
LATEST = "latest"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})\Z")
_LOOKS_LIKE_VERSION = re.compile(r"v[0-9]+\Z")
_RULE = "use letters, digits, '_', '-' and '.', at most 128, not beginning with '.' or '-'"


def check_name(what: str, name: str) -> str:
    """Return `name` if it may name a project, artifact or type; raise InvalidName saying `what` it was meant to be."""
    if not _NAME.match(name):
        raise InvalidName(f"{name!r} is not a valid {what} name", hint=_RULE)
    return name


def check_alias(name: str) -> str:
    """Return `name` if it may be an alias; `v` and digits are reserved for versions."""
    check_name("alias", name)
    if _LOOKS_LIKE_VERSION.match(name):
        raise InvalidName(f"{name!r} cannot be an alias", hint="v and digits name versions; choose another alias")
    return name


def parse_version(name: str) -> int | None:
    """The number of a version name (`v3` is 3), or None if `name` is not one. `v03` is not a version name."""
    match = _VERSION.match(name)
    return int(match[1]) if match else None


def version_name(number: int) -> str:
    return f"v{number}"


def check_label(what: str, text: str) -> str:
    """Return `text` if it may name a run or a group for people, which may be empty; raise InvalidValue otherwise."""
    if len(text) > LABEL_CHARACTERS_MAX or not text.isprintable():
        raise InvalidValue(
            f"{text[:LABEL_CHARACTERS_MAX]!r} cannot be a {what}",
            hint=f"use at most {LABEL_CHARACTERS_MAX} characters that can be printed",
        )
    return text


def check_file_name(name: str) -> str:
    """Return `name` if a directory of a version may hold it; raise InvalidName otherwise."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidName(f"{name!r} cannot be a file name", hint="it is empty, '.' or '..', or holds '/' or NUL")
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidName(f"{name!r} is not valid UTF-8", hint="rename the file") from None
    if len(encoded) > FILE_NAME_BYTES_MAX:
        raise InvalidName(f"{name!r} is longer than {FILE_NAME_BYTES_MAX} bytes", hint="rename the file")
    return name


def split_path(path: str) -> tuple[str, ...]:
    """The components of a relative path inside a version; `""` is its root. Raises InvalidName."""
    parts = tuple(part for part in path.split("/") if part)
    for part in parts:
        check_file_name(part)
    return parts


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """`project[/artifact[:selector[/path]]]`, parsed. A selector is an alias or a version name."""

    project: str
    artifact: str | None = None
    selector: str | None = None
    path: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> ArtifactRef:
        """Read a reference as users type it. Raises InvalidName with the expected form."""
        head, colon, tail = text.partition(":")
        names = head.rstrip("/").split("/") if not colon else head.split("/")
        if len(names) > 2 or (colon and len(names) != 2):
            raise InvalidName(f"{text!r} is not a reference", hint="write project/artifact:alias/path")
        project = check_name("project", names[0])
        artifact = check_name("artifact", names[1]) if len(names) == 2 else None
        if not colon:
            return cls(project, artifact)
        selector, _, path = tail.partition("/")
        if parse_version(selector) is None:
            check_alias(selector)
        return cls(project, artifact, selector, split_path(path))

    def __str__(self) -> str:
        text = self.project
        if self.artifact is not None:
            text += f"/{self.artifact}"
        if self.selector is not None:
            text += f":{self.selector}"
        return "/".join((text, *self.path))
