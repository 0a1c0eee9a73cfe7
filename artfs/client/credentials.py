"""Where tokens are kept: one for each server, in a file that only its owner can read, or in the system's keyring.

A token is never an argument of a command, and is in no message.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from artfs.errors import InvalidValue, StorageFailed
from artfs.store.durable import FILE_MODE, make_private, reported, write_file

KEYRING_SERVICE = "artfs"
_IN_KEYRING = ""  # in the file, in the place of a token that the keyring has


class _Kept(msgspec.Struct):
    servers: dict[str, str] = {}


def server_name(url: str) -> str:
    """A server's URL in the one way that it is kept under. Raises InvalidValue."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        port = parts.port
    except ValueError:
        raise InvalidValue("that is not a server", hint="write https://HOST:PORT") from None
    if parts.username or parts.password:
        raise InvalidValue("a server's URL must not hold a password", hint="artfs login asks for the token")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise InvalidValue(f"{url!r} is not a server", hint="write https://HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = (parts.scheme, port) in (("http", 80), ("https", 443))
    return f"{parts.scheme}://{host}" if port is None or usual else f"{parts.scheme}://{host}:{port}"


def find_token(url: str, path: Path, environ: Mapping[str, str]) -> str:
    """The token for a server; empty if there is none.

    Args:
        path: the credentials file.
        environ: `ARTFS_TOKEN`, or a file named by `ARTFS_TOKEN_FILE`, wins.

    Raises StorageFailed if the file can be read by others.
    """
    if environ.get("ARTFS_TOKEN"):
        return checked_token(environ["ARTFS_TOKEN"], "ARTFS_TOKEN")
    if environ.get("ARTFS_TOKEN_FILE"):
        file = Path(environ["ARTFS_TOKEN_FILE"]).expanduser()
        return read_token(file)
    name = server_name(url)
    token = _load(path).servers.get(name)
    if token == _IN_KEYRING:
        keyring = _keyring()
        with _unlocked(keyring):
            return (keyring and keyring.get_password(KEYRING_SERVICE, name)) or ""
    return token or ""


def read_token(file: Path) -> str:
    """The token in a file. Raises InvalidValue, without telling what is there instead, and StorageFailed."""
    with reported("read the token in", file):
        data = file.read_bytes()
    return checked_token(data.decode("utf-8", "replace"), str(file))


def checked_token(text: str, where: str) -> str:
    """`text` as a token, spaces around it removed. Raises InvalidValue."""
    token = text.strip()
    if not token or not token.isascii() or any(not 0x21 <= ord(character) <= 0x7E for character in token):
        raise InvalidValue(f"there is no token in {where}", hint="a token begins with artfs_ and is one word")
    return token


def keep_token(url: str, token: str, path: Path) -> str:
    """Remember a server's token; returns where, in words. Raises StorageFailed."""
    name, keyring = server_name(url), _keyring()
    if keyring is not None:
        with _unlocked(keyring):
            keyring.set_password(KEYRING_SERVICE, name, token)
    with _changing(path) as kept:
        kept.servers[name] = _IN_KEYRING if keyring is not None else token
    return "the system's keyring" if keyring is not None else str(path)


def forget_token(url: str, path: Path) -> bool:
    """Whether there was one."""
    name = server_name(url)
    with _changing(path) as kept:
        token = kept.servers.pop(name, None)
    keyring = _keyring() if token == _IN_KEYRING else None
    if keyring is not None:
        with _unlocked(keyring):
            keyring.delete_password(KEYRING_SERVICE, name)
    return token is not None


@contextmanager
def _changing(path: Path) -> Iterator[_Kept]:
    """What is kept, written back at the end; other commands wait."""
    with reported("write", path):
        make_private(path.parent)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held for the moment of writing a small file
        kept = _load(path)
        yield kept
        with reported("write", path):
            write_file(path, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    finally:
        os.close(lock)


def _load(path: Path) -> _Kept:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _Kept()
    except OSError as error:
        raise StorageFailed(f"cannot read {path}: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if found.st_uid not in (os.geteuid(), 0):
            raise StorageFailed(f"{path} belongs to somebody else", hint="remove it, and log in again")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise StorageFailed(f"{path} can be read by others", hint=f"chmod 600 {path}, and revoke its tokens")
        data = file.read()
    try:
        return msgspec.json.decode(data, type=_Kept)
    except (msgspec.DecodeError, ValueError):
        raise StorageFailed(f"{path} is not readable as credentials", hint="remove it, and log in again") from None


def _keyring() -> Any:
    """The `keyring` package if it is installed and has somewhere to keep things; else None."""
    if find_spec("keyring") is None:
        return None
    keyring = import_module("keyring")
    nowhere = import_module("keyring.backends.fail").Keyring
    return None if isinstance(keyring.get_keyring(), nowhere) else keyring


@contextmanager
def _unlocked(keyring: Any) -> Iterator[None]:
    """Raises StorageFailed where the keyring refuses, such as one that is locked."""
    refused: type[Exception] = import_module("keyring.errors").KeyringError if keyring is not None else OSError
    try:
        yield
    except refused as error:
        raise StorageFailed(
            f"the system's keyring does not answer: {type(error).__name__}", hint="unlock it, or set ARTFS_TOKEN_FILE"
        ) from None
