"""The API key for a W&B server, from where `wandb` keeps it. It is never an argument, and in no message."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from netrc import NetrcParseError, netrc
from pathlib import Path

from artfs.errors import InvalidValue, NotAuthenticated
from artfs.store.durable import reported
from artfs.wandb_client.address import WandbAddress, host_of


def find_api_key(address: WandbAddress, environ: Mapping[str, str], home: Path) -> str:
    """The key for the server: `WANDB_API_KEY`, else what `wandb login` wrote to the netrc file.

    A `WANDB_API_KEY` is passed over where `WANDB_BASE_URL` says that it is another server's.

    Args:
        home: where the netrc file is, unless `NETRC` names it.

    Raises NotAuthenticated if there is none, InvalidValue for what cannot be one, StorageFailed for a file that cannot be read.
    """
    key, base_url = environ.get("WANDB_API_KEY", ""), environ.get("WANDB_BASE_URL", "")
    if key and (not base_url or host_of(base_url) == address.host):
        return _checked(key, "WANDB_API_KEY")
    for path in _netrc_files(environ, home):
        found = _kept_in(path, address)
        if found:
            return _checked(found, str(path))
    beside = " (WANDB_API_KEY is for another server: WANDB_BASE_URL)" if key else ""
    raise NotAuthenticated(
        f"there is no API key for {address.host}{beside}",
        hint=f"wandb login --host {address.url}, or set WANDB_API_KEY",
    )


def authorization(key: str) -> str:
    """The header with which a server is asked."""
    return "Basic " + b64encode(f"api:{key}".encode()).decode()


def _netrc_files(environ: Mapping[str, str], home: Path) -> list[Path]:
    named = environ.get("NETRC", "")
    return [Path(named).expanduser()] if named else [home / ".netrc", home / "_netrc"]


def _kept_in(path: Path, address: WandbAddress) -> str:
    """Of the host with its port, or of the host. Empty if there is none; another's default is nobody's key."""
    try:
        with reported("read the API key in", path, missing_passes=True):
            hosts = netrc(path).hosts
    except FileNotFoundError:
        return ""
    except (NetrcParseError, UnicodeDecodeError):  # either may quote what it met
        raise InvalidValue(f"{path} cannot be read as a netrc file", hint="correct it, or set WANDB_API_KEY") from None
    bare = address.host if address.host.endswith("]") else address.host.rpartition(":")[0] or address.host
    for host in (address.host, bare):
        if host in hosts:
            return hosts[host][2] or ""
    return ""


def _checked(text: str, where: str) -> str:
    key = text.strip()
    if not key or any(not 0x21 <= ord(character) <= 0x7E for character in key):
        raise InvalidValue(f"there is no API key in {where}", hint="a key is one word of letters and digits")
    return key
