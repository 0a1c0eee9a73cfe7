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
from artfs.store.durable import DIRECTORY_MODE, FILE_MODE, reported, write_file

KEYRING_SERVICE = "artfs"
_IN_KEYRING = ""  # in the file, in the place of a token that the keyring has


class _Kept(msgspec.Struct):
    servers: dict[str, str] = {}


def server_name(url: str) -> str:
    """A server's URL in the one way that it is kept under. Raises InvalidValue."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise InvalidValue(f"{url!r} is not a server", hint="write https://HOST:PORT")
    if parts.username or parts.password:
        raise InvalidValue("a server's URL must not hold a password", hint="artfs login asks for the token")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def find_token(url: str, path: Path, environ: Mapping[str, str]) -> str:
    """The token for a server; empty if there is none.

    Args:
        path: the credentials file.
        environ: `ARTFS_TOKEN`, or a file named by `ARTFS_TOKEN_FILE`, wins.

    Raises StorageFailed if the file can be read by others.
    """
    if environ.get("ARTFS_TOKEN"):
        return environ["ARTFS_TOKEN"].strip()
    if environ.get("ARTFS_TOKEN_FILE"):
        file = Path(environ["ARTFS_TOKEN_FILE"]).expanduser()
        with reported("read the token in", file):
            return file.read_text(encoding="utf-8").strip()
    name = server_name(url)
    token = _load(path).servers.get(name)
    if token == _IN_KEYRING:
        keyring = _keyring()
        return (keyring and keyring.get_password(KEYRING_SERVICE, name)) or ""
    return token or ""


def keep_token(url: str, token: str, path: Path) -> str:
    """Remember a server's token; returns where, in words. Raises StorageFailed."""
    name, keyring = server_name(url), _keyring()
    if keyring is not None:
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
        keyring.delete_password(KEYRING_SERVICE, name)
    return token is not None


@contextmanager
def _changing(path: Path) -> Iterator[_Kept]:
    """What is kept, written back at the end; other commands wait."""
    with reported("write", path):
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
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
        mode = os.fstat(fd).st_mode
        if stat.S_IMODE(mode) & 0o077:
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
