"""The keys that packs are encrypted with: named, one of them current, from a file or from a variable of the environment.

The text is one `name = base64 of 32 bytes` a line, or the same as TOML, and perhaps `current = "name"`; without that line the
first key is current. New packs are encrypted with the current one, the others are there to read what was written before.
"""

from __future__ import annotations

import binascii
import os
import re
import stat
import tomllib
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from artfs.errors import InvalidValue, StorageFailed

KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_CURRENT = "current"
_HOW = "write lines like `k1 = <output of: openssl rand -base64 32>`"


@dataclass(frozen=True, slots=True)
class EncryptionKeys:
    """Keys by name. Their text form shows none."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    def find(self, name: str) -> bytes | None:
        return self.keys.get(name)


def load_keys(source: str, environ: Mapping[str, str]) -> EncryptionKeys:
    """Keys from the file `source`, or from a variable when `source` is `env:NAME`.

    Raises InvalidValue for what cannot be read as keys, StorageFailed for a file that cannot be read or that others can.
    """
    if source.startswith("env:"):
        variable = source.removeprefix("env:")
        text = environ.get(variable, "")
        if not text:
            raise InvalidValue(f"the variable {variable} has no encryption keys", hint=f"in it, {_HOW}")
        return parse_keys(text, f"the variable {variable}")
    path = Path(source).expanduser()
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(1 << 20)
    except OSError as error:
        raise StorageFailed(
            f"cannot read the encryption keys in {path}: {error.strerror}", hint="check that the file is there"
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise StorageFailed(
            f"others can read the encryption keys in {path}", hint=f"chmod 600 {path}, and make a new key"
        )
    return parse_keys(data.decode(errors="replace"), str(path))


def parse_keys(text: str, where: str) -> EncryptionKeys:
    """Raises InvalidValue, which tells names and lines of `where`, never a key."""
    keys: dict[str, bytes] = {}
    current = ""
    for name, value in _assignments(text, where):
        if name == _CURRENT:
            current = value
            continue
        if not _NAME.fullmatch(name):
            raise InvalidValue(
                f"{where} has a key with an impossible name", hint="letters, digits, - and _, at most 32"
            )
        if name in keys:
            raise InvalidValue(f"{where} has the key {name!r} twice")
        keys[name] = _key(name, value, where)
    if not keys:
        raise InvalidValue(f"{where} has no encryption keys", hint=_HOW)
    current = current or next(iter(keys))
    if current not in keys:
        raise InvalidValue(f"{where} says that {current!r} is current, but has no such key")
    return EncryptionKeys(current, keys)


def _assignments(text: str, where: str) -> list[tuple[str, str]]:
    try:
        return [(name, str(value)) for name, value in tomllib.loads(text).items()]
    except (tomllib.TOMLDecodeError, RecursionError):
        pass  # base64 without quotes is not TOML
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise InvalidValue(f"line {number} of {where} is not a key", hint=_HOW)
        found.append((name.strip(), value.strip().strip("\"'")))
    return found


def _key(name: str, value: str, where: str) -> bytes:
    try:
        key = b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise InvalidValue(f"the key {name!r} in {where} is not the base64 of {KEY_BYTES} bytes", hint=_HOW)
    return key
