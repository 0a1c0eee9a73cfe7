"""Ranges of packs by HTTP: from the server, or from the bucket that it points to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from artfs.client.pack_source import PackVanished, Places
from artfs.client.remote.transport import Transport
from artfs.errors import DamagedPack, PathNotFound, UsageError
from artfs.vfs.ports import Bytes

_T = TypeVar("_T")


class HttpPacks:
    """A `PackSource` over a transport, which its owner closes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def read(self, url: str, offset: int, length: int) -> Bytes:
        if not length:
            return b""
        data = self._read(url, offset, length)
        if len(data) != length:
            raise DamagedPack(f"the pack {_name(url)} ends before byte {offset + length}", hint="run artfs fsck")
        return data

    def read_pieces(self, url: str, places: Places) -> list[Bytes]:
        pieces = [memoryview(bytearray(length)) for _, length in places]
        into: list[memoryview] = []
        begin = end = places[0][0]
        for (offset, length), piece in zip(places, pieces, strict=True):
            if offset < end:
                raise DamagedPack(f"two objects of {_name(url)} overlap", hint="run artfs fsck")
            into += [memoryview(bytearray(offset - end))] * (offset > end) + [piece]
            end = offset + length
        if self._asked(url, lambda: self._transport.read_range_into(url, begin, into)) != end - begin:
            raise DamagedPack(f"the pack {_name(url)} ends before byte {end}", hint="run artfs fsck")
        return [piece.toreadonly() for piece in pieces]

    def read_end(self, url: str, length: int) -> Bytes:
        """The last `length` bytes of a pack, or all of a shorter one."""
        return self._read(url, None, length)

    def close(self) -> None:
        pass

    def _read(self, url: str, offset: int | None, length: int) -> Bytes:
        return self._asked(url, lambda: memoryview(self._transport.read_range(url, offset, length)))

    def _asked(self, url: str, ask: Callable[[], _T]) -> _T:
        try:
            return ask()
        except PathNotFound:
            raise PackVanished(_name(url)) from None
        except UsageError as error:  # a range that is not there
            raise DamagedPack(f"the pack {_name(url)} cannot be read: {error.message}") from None


def _name(url: str) -> str:
    """A pack's name without the signature of a pre-signed URL."""
    return url.partition("?")[0].rpartition("/")[2]
