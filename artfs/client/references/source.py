"""What the schemes have in common: finding what a URI stands for, and receiving bytes of one state of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from artfs.errors import InvalidName, InvalidValue, ReferenceChanged
from artfs.model.names import check_file_name
from artfs.vfs.ports import Bytes

OBJECTS_MAX = 10_000

_T = TypeVar("_T")


class Told(NamedTuple):
    """What a source says of its present state.

    Attributes:
        size_bytes: of all of it; None if it does not say.
        etag: its strong entity tag, empty if there is none.
        validator: differs when the bytes do: the ETag, or a time of change that can be relied on; empty if there is none.
        start: where in it the bytes begin that come with this.
        is_whole: all of it comes, whatever was asked for.
    """

    size_bytes: int | None
    etag: str = ""
    validator: str = ""
    start: int = 0
    is_whole: bool = False


class Located(NamedTuple):
    """One thing that a URI stands for; `path` is what it is called, from the directory on if it is one below that."""

    path: str
    uri: str
    told: Told
    is_below: bool = False


class Source(Protocol):
    """A scheme. Safe from any thread. Raises ReferenceForbidden, ReferenceUnavailable, ReferenceChanged, InvalidValue."""

    is_local: bool
    """Reading it again costs no more than reading a cache would."""

    def locate(self, uri: str, objects_max: int) -> list[Located]:
        """What `uri` stands for: itself, or everything below it."""

    def receive(
        self,
        uri: str,
        span: tuple[int, int] | None,
        etag: str,
        expected_bytes: int,
        take: Callable[[Told, Iterator[Bytes]], _T],
    ) -> _T:
        """What `take` makes of the bytes, which come in pieces.

        Args:
            span: offset and length of what is wanted; None for all. A source may send all in any case.
            etag: of the state that is wanted; empty for whichever there is.
            expected_bytes: how many will come, for the time that they may take; a source that is slow is given up.
        """

    def whole_md5(self, uri: str) -> bytes | None:
        """The MD5 that all bytes of `uri` must have, if that is known; of a reference with an ETag it is verified."""

    def close(self) -> None: ...


def name_of(uri: str) -> str:
    """What a single thing is called: the last part of its path, which may be empty. Raises InvalidName."""
    try:
        name = unquote(urlsplit(uri).path.rpartition("/")[2])
    except ValueError:
        raise InvalidName(f"{shown(uri)!r} is not a URI", hint="write SCHEME://PLACE/PATH") from None
    return check_file_name(name) if name else ""


def shown(uri: str) -> str:
    """A URI as messages and logs show it: without a query, which may hold a signature."""
    return uri.partition("?")[0]


def changed(uri: str, how: str) -> ReferenceChanged:
    return ReferenceChanged(
        f"{shown(uri)} is not what it was when it was referred to: {how}", hint="add the reference again"
    )


def too_many(uri: str, objects_max: int) -> InvalidValue:
    return InvalidValue(
        f"{shown(uri)} holds more than {objects_max} objects", hint="refer to less, or raise max_objects"
    )
