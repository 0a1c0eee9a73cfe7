"""URLs that are good for one file and a while, for the requests that carry no credentials.

What a URL allows is in it, and signed: nothing is kept for it. Whoever has it has what it allows, as with a bucket's. The key is
in a file of its own, which only the server's user can read; a new key makes all URLs invalid.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest, digest
from pathlib import Path
from typing import TypeVar

import msgspec

from artfs.errors import AccessDenied
from artfs.store.durable import reported

KEY_BYTES = 32
READ_LIFE_S = 3600  # a client asks for new ones
WRITE_LIFE_S = 24 * 3600  # a client does not: of a long upload all URLs were made at its beginning
_REFUSED = "this URL has expired, or was changed"
_HINT = "ask for a new one"

_T = TypeVar("_T", bound=msgspec.Struct)


def load_key(path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """The key in the file, which is made if there is none. Several processes that make it at once get the same."""
    with reported("make", path):
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            temporary = path.with_name(f"{path.name}.{random_bytes(8).hex()}")
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(fd, random_bytes(KEY_BYTES))
                os.fsync(fd)
            finally:
                os.close(fd)
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass  # another process was faster
            finally:
                temporary.unlink()
            found = path.read_bytes()
    if len(found) != KEY_BYTES:
        raise AccessDenied(f"{path} is not a key", hint="remove it: a new one is made")
    return found


class Signer:
    """Makes and reads what is in a URL's query: `p`, what it allows until when, and `s`, the signature."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def sign(self, allowed: msgspec.Struct, life_s: int) -> str:
        """A query. The kind of what is allowed is signed with it: one kind is not taken for another."""
        until = int(self._clock()) + life_s
        payload = _text(msgspec.msgpack.encode((until, allowed)))
        return f"p={payload}&s={self._signature(type(allowed), payload)}"

    def read(self, kind: type[_T], payload: str, signature: str) -> _T:
        """What is allowed. Raises AccessDenied."""
        if not compare_digest(signature.encode(), self._signature(kind, payload).encode()):
            raise AccessDenied(_REFUSED, hint=_HINT)
        until, allowed = msgspec.msgpack.decode(_bytes(payload), type=tuple[int, kind])  # type: ignore[valid-type]  # of this kind
        if until < self._clock():
            raise AccessDenied(_REFUSED, hint=_HINT)
        found: _T = allowed
        return found

    def _signature(self, kind: type[msgspec.Struct], payload: str) -> str:
        return _text(digest(self._key, f"{kind.__name__} {payload}".encode(), sha256))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
