"""Which references this machine follows: by scheme, and for HTTP by host.

A version may come from somebody else, and a reference in it must not make this machine fetch what only it can reach: a service
on its loopback, an intranet, the metadata of its cloud. So by default only hosts whose addresses are all public are asked. The
address that a connection is really made to is checked again, since a name may mean another address a moment later.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from cachetools import TTLCache

from artfs.errors import InvalidValue, ReferenceForbidden, ReferenceUnavailable

SCHEMES = ("https", "http", "s3", "file")
PUBLIC = "public"
ANY = "*"
KNOWN_HOSTS_MAX = 1024
KNOWN_S = 30.0
S3_HOST = "s3.amazonaws.com"  # where buckets are when the environment names no other endpoint
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_INSIDE = tuple(map(ipaddress.ip_network, ("64:ff9b:1::/48", "fec0::/10")))  # of one site: RFC 8215, RFC 3879
_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]+")  # anything else, others who read the URL may take for its end

Resolve = Callable[[str, int], list[str]]
"""The addresses of a host. Raises OSError."""


class Policy:
    """What may be followed. Safe from any thread.

    Args:
        schemes: of SCHEMES.
        hosts: `public`, `*`, and patterns such as `*.corp.example` or `localhost:9000`; one without a port means any port.
        files: whether the registry is a directory of this machine: `file` means nothing otherwise.
    """

    def __init__(
        self,
        schemes: Iterable[str] = SCHEMES,
        hosts: Iterable[str] = (PUBLIC,),
        *,
        files: bool = True,
        resolve: Resolve | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schemes = frozenset(schemes)
        self._hosts = tuple(host.lower() for host in hosts)
        self._files = files
        self._resolve = resolve or addresses_of
        self._lock = threading.Lock()
        self._public: TTLCache[tuple[str, int], bool] = TTLCache(KNOWN_HOSTS_MAX, KNOWN_S, clock)

    def check_scheme(self, scheme: str) -> None:
        """Raises ReferenceForbidden, or InvalidValue for a scheme that nobody could follow."""
        if scheme not in SCHEMES:
            raise InvalidValue(
                f"references to {scheme}: are not known" if scheme else "a reference begins with a scheme",
                hint=f"known are {', '.join(f'{s}:' for s in SCHEMES)}",
            )
        if scheme == "file" and not self._files:
            raise ReferenceForbidden(
                "references to files are only for a registry that is a directory of this machine",
                hint="others could not read the file: put it, or refer to it by https: or s3:",
            )
        if scheme not in self._schemes:
            raise ReferenceForbidden(
                f"references to {scheme}: are not followed on this machine",
                hint=f"name {scheme} in the setting reference_schemes (ARTFS_REFERENCE_SCHEMES)",
            )

    def check_url(self, url: str) -> None:
        """Whether an http(s) URL may be asked. Raises ReferenceForbidden, ReferenceUnavailable if its host has no address."""
        host, port = host_and_port(url)
        self.check_scheme(urlsplit(url).scheme)
        if self._is_named(host, port):
            return
        if PUBLIC not in self._hosts:
            raise _forbidden(host, port)
        with self._lock:
            known = self._public.get((host, port))
        if known is None:
            known = self._is_public(host, port)
            with self._lock:
                self._public[host, port] = known
        if not known:
            raise _forbidden(host, port)

    def check_address(self, url: str, address: str) -> None:
        """Whether `address`, which `url` turned out to be at, may be spoken to. Raises ReferenceForbidden."""
        host, port = host_and_port(url)
        if not self._is_named(host, port) and not (PUBLIC in self._hosts and is_public(address)):
            raise _forbidden(host, port)

    def check_s3(self, endpoint: str) -> None:
        """Whether buckets may be read. An endpoint in the environment was put there by the user. Raises ReferenceForbidden."""
        self.check_scheme("s3")
        if not endpoint and PUBLIC not in self._hosts and not self._is_named(S3_HOST, 443):
            raise _forbidden(S3_HOST, 443)

    def _is_named(self, host: str, port: int) -> bool:
        return any(pattern == ANY or (pattern != PUBLIC and _matches(pattern, host, port)) for pattern in self._hosts)

    def _is_public(self, host: str, port: int) -> bool:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise ReferenceUnavailable(
                f"{host} has no address: {getattr(error, 'strerror', None) or error}", hint="check its name"
            ) from None
        return bool(addresses) and all(map(is_public, addresses))


def addresses_of(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, whatever notation hides another in it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None or any(found in network for network in _INSIDE):
            return False
    return found.is_global and not found.is_multicast


def host_and_port(url: str) -> tuple[str, int]:
    """Of an http(s) URL. Raises InvalidValue for what is none, or carries a password that every reader would see."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        host, port = "", 0
    if not _HOST.fullmatch(host) or "\\" in parts.netloc or not port or parts.fragment:
        raise InvalidValue("a reference's URL is not well formed", hint="write https://HOST/PATH, without a fragment")
    if parts.username is not None or parts.password is not None:
        raise InvalidValue(
            "a reference's URL holds a name or password", hint="everybody who reads the version would see it"
        )
    return host, port


def _matches(pattern: str, host: str, port: int) -> bool:
    name, colon, number = pattern.rpartition(":")
    if colon and (number.isdigit() or number == ANY) and not name.endswith(":"):
        return fnmatchcase(host, name.strip("[]")) and number in (ANY, str(port))
    return fnmatchcase(host, pattern.strip("[]"))


def _forbidden(host: str, port: int) -> ReferenceForbidden:
    return ReferenceForbidden(
        f"references to {host}:{port} are not followed on this machine",
        hint=f"add {host}:{port} to the setting reference_hosts (ARTFS_REFERENCE_HOSTS)",
    )
