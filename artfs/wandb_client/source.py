"""Files of a W&B server, by range. Their URIs are made in memory alone (`births`): `wandb:/artifactsV2/REGION/.../MD5/NAME`.

The server answers to a file's path with a signed URL, which is read like any other; it is remembered for a while, and asked for
anew when its storage refuses it. The API key goes to the server for that question and nowhere else: not to a signed URL, of the
same host or another, and after no redirect. A signed URL leads to the server itself (host and port), or where all addresses are
public, so that a server cannot make this machine read from inside its network. A path names its file by the MD5 of all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

from artfs.client.references.http_source import CALL_S, HttpSource, Redirected, followed
from artfs.client.references.policy import PUBLIC
from artfs.client.references.source import Located, Told
from artfs.client.remote.transport import checked_url
from artfs.errors import AccessDenied, ArtfsError, InvalidValue, NotAuthenticated, ReferenceUnavailable
from artfs.vfs.ports import Bytes
from artfs.wandb_client.births import SCHEME
from artfs.wandb_client.credentials import authorization
from artfs.wandb_client.outside import policy_of
from artfs.wandb_client.signed_urls import SignedUrls

MD5_DIGITS = 32
_PLACES = ("/artifacts/", "/artifactsV2/")
_EXPIRED = (400, 401, 403, 410)  # as storage says of a URL that is good no more; S3 says 400 if its key is not

_T = TypeVar("_T")


class _File(NamedTuple):
    """What a URI names: its path on the server, percent-encoded as in the URI, the last part of it, and the MD5 of its bytes."""

    path: str
    name: str
    md5: bytes

    @classmethod
    def parse(cls, uri: str) -> _File:
        """Raises InvalidValue."""
        scheme, _, path = uri.partition(":")
        _, *parts = path.split("/")
        digits = parts[-2] if len(parts) >= 2 else ""
        born_unknown = parts[-3:-2] == [""]
        named = parts[:-3] + parts[-2:] if born_unknown else parts
        plain = scheme == SCHEME and path.startswith(_PLACES) and not any(part in ("", ".", "..") for part in named)
        if not plain or len(digits) != MD5_DIGITS or not set(digits) <= set("0123456789abcdef"):
            raise InvalidValue(f"{uri!r} names no file of a W&B server")
        return cls(path, unquote(parts[-1]), bytes.fromhex(digits))


class WandbSource:
    """Implements `Source`. Not to be used after a fork.

    Args:
        base_url: of the server; a path is a prefix.
        key: the API key; empty for none.
        ca_file: certificates (PEM) that are trusted besides the usual ones; empty for none.
        hosts: where signed URLs may lead besides the server itself, as in `Policy`.
        call_s: of one call with its attempts, besides what its bytes take.
    """

    is_local = False

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        ca_file: str = "",
        hosts: tuple[str, ...] = (PUBLIC,),
        call_s: float = CALL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = checked_url(base_url)
        self._http = HttpSource(policy_of(self._base_url, hosts), ca_file=ca_file, call_s=call_s, clock=clock)
        self._headers = {"Authorization": authorization(key)} if key else {}
        self._urls = SignedUrls(clock)

    def __repr__(self) -> str:
        return f"WandbSource({self._base_url})"

    def close(self) -> None:
        self._http.close()

    def whole_md5(self, uri: str) -> bytes | None:
        return _File.parse(uri).md5

    def locate(self, uri: str, objects_max: int) -> list[Located]:
        """Raises InvalidValue: nobody refers to these."""
        raise InvalidValue(f"references to {SCHEME}: are not made", hint="mount the server that has the file")

    def receive(
        self,
        uri: str,
        span: tuple[int, int] | None,
        etag: str,
        expected_bytes: int,
        take: Callable[[Told, Iterator[Bytes]], _T],
    ) -> _T:
        """As `Source` says. Raises NotAuthenticated and AccessDenied as well."""
        file = _File.parse(uri)

        def taken(told: Told, pieces: Iterator[Bytes]) -> _T:
            return take(told._replace(etag=etag, validator=etag), pieces)  # the path says which bytes are meant

        for is_renewed in (False, True):
            url = self._urls.get(file.path, lambda: self._ask(file))
            try:
                if not url:
                    return self._receive_itself(file, span, expected_bytes, taken)
                return self._http.receive(url, span, "", expected_bytes, taken)
            except Redirected:
                self._urls.forget(file.path, url)
            except ReferenceUnavailable as failure:
                if not failure.status:
                    raise
                self._urls.forget(file.path, url)
                if is_renewed or failure.status not in _EXPIRED:
                    raise self._not_readable(file, failure.status) from None
        raise ReferenceUnavailable(f"{self._base_url} now answers with {file.name}, now with where it is")

    def _ask(self, file: _File) -> str:
        """The URL that the server answers with; empty if it answers with the file itself."""
        own = self._base_url + file.path
        try:
            self._receive_itself(file, (0, 1), 0, lambda told, pieces: None)
        except Redirected as redirected:
            return followed(own, own, redirected.location)
        return ""

    def _receive_itself(
        self,
        file: _File,
        span: tuple[int, int] | None,
        expected_bytes: int,
        take: Callable[[Told, Iterator[Bytes]], _T],
    ) -> _T:
        try:
            return self._http.receive_here(self._base_url + file.path, span, self._headers, expected_bytes, take)
        except ReferenceUnavailable as failure:
            if not failure.status:
                raise
            raise self._refusal(file, failure.status) from None

    def _refusal(self, file: _File, status: int) -> ArtfsError:
        """What an answer of the server itself means."""
        if status == 401:
            return NotAuthenticated(f"{self._base_url} does not accept the API key", hint="check it, or make another")
        if status == 403:
            return AccessDenied(f"{self._base_url} does not let this API key read {file.name}")
        if status in (404, 410):
            return ReferenceUnavailable(
                f"{file.name} is gone from {self._base_url}", hint="its version, or its file, was deleted there"
            )
        return ReferenceUnavailable(f"{self._base_url} answered {status} when it was asked for {file.name}")

    def _not_readable(self, file: _File, status: int) -> ReferenceUnavailable:
        """What an answer of where the file is stored means."""
        again = " twice" if status in _EXPIRED else ""
        return ReferenceUnavailable(
            f"{file.name} cannot be read: where {self._base_url} says it is, the answer was {status}{again}",
            hint="check that its storage can be reached from here",
        )
