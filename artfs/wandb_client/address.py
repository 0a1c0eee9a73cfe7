"""Where a W&B server is and whose projects are read there, as users write it: `wandb+https://HOST[:PORT][/ENTITY]`."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from artfs.errors import InvalidName, InvalidValue
from artfs.model.names import check_name

_SCHEMES = {"wandb+https": ("https", 443), "wandb+http": ("http", 80)}
_PAGES = {"wandb.ai", "www.wandb.ai", "app.wandb.ai"}  # what a browser shows; the interface is elsewhere
_FORM = "write wandb+https://HOST/ENTITY, such as wandb+https://api.wandb.ai/my-team"


class WandbAddress(NamedTuple):
    """A server and an entity of it.

    Attributes:
        url: of the server, without a slash at its end; a usual port is left out.
        entity: a user or a team; empty for the one that the key is of.
    """

    url: str
    entity: str

    @property
    def host(self) -> str:
        """With the port, unless that is the usual one."""
        return self.url.partition("://")[2]

    def __str__(self) -> str:
        return f"wandb+{self.url}" + (f"/{self.entity}" if self.entity else "")


def parse_address(text: str) -> WandbAddress:
    """Raises InvalidValue, without telling a password that is in it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidValue("that is not the address of a W&B server", hint=_FORM) from None
    if parts.username is not None or parts.password is not None:
        raise InvalidValue("an address must not hold a user or a key", hint="`wandb login` keeps the key")
    names = parts.path.strip("/").split("/")
    if (
        parts.scheme not in _SCHEMES
        or not parts.hostname
        or port == 0
        or parts.query
        or parts.fragment
        or len(names) > 1
    ):
        raise InvalidValue(f"{text!r} is not the address of a W&B server", hint=_FORM)
    if parts.hostname in _PAGES:
        raise InvalidValue(f"{parts.hostname} has the pages, not the data", hint=_FORM)
    scheme, usual = _SCHEMES[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if port in (None, usual) else f"{host}:{port}"
    return WandbAddress(f"{scheme}://{place}", _entity(names[0]))


def host_of(url: str) -> str:
    """The host of a server's URL as `WandbAddress.host` has it; empty for what is no URL."""
    try:
        return parse_address(f"wandb+{url.strip()}").host
    except InvalidValue:
        return ""


def _entity(name: str) -> str:
    if not name:
        return ""
    try:
        return check_name("entity", name)
    except InvalidName as error:
        raise InvalidValue(error.message, hint=_FORM) from None
