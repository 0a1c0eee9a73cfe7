"""Packs in a bucket: S3, Google Cloud Storage or Azure, through obstore.

A pack is one object, put once, only if there is none of its name. Clients read it from the bucket, by URLs that are signed here
and hold for an hour. Every request has a bound, with its retries. The client of the bucket is made when it is first needed:
its threads belong to the process, and do not survive a fork. A child of a process that has used a bucket is refused, for
it would wait for ever.

What a bucket's errors say is told without the request itself: that has keys and signatures in it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from hashlib import md5
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cachetools import TTLCache

from artfs.errors import AlreadyExists, MachineNotReady, StorageFailed
from artfs.model.pack import FOOTER_BYTES
from artfs.store.bucket_errors import absent_bucket, bucket_errors, is_beyond_the_end
from artfs.store.bucket_url import BucketUrl, Timeouts
from artfs.store.durable import reported
from artfs.store.packs import PackName, StoredFile, name_at, place_of

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

PACKS = "packs"
QUARANTINE = "quarantine"
URL_LIFE_S = 3600
URL_RENEWED_AFTER_S = 240  # less than what passing keys of a machine's role still last when they are used to sign
URLS_MAX = 16_384
WINDOW_BYTES = 8 << 20  # what one request of a check or a repair reads
_LIST_CHUNK = 1000


class ObjectStore:
    """A `PackStore` in a bucket, as `PREFIX/packs/<uid>/<2 digits>/<pack id>.pack`.

    Args:
        url: `s3://BUCKET/PREFIX?option=value`, `gs://` or `az://`; the options are those of `bucket_url`.
        timeouts: how long a request may take.
        credentials: settings of obstore's for keys; without them those of the environment are used.
    """

    def __init__(
        self, url: str, *, timeouts: Timeouts | None = None, credentials: dict[str, str] | None = None
    ) -> None:
        self._parsed = BucketUrl.parse(url)
        self._timeouts = timeouts or Timeouts()
        self._credentials = credentials or {}
        self._lock = threading.Lock()
        self._client: Any = None
        self._urls: TTLCache[PackName, str] = TTLCache(URLS_MAX, URL_RENEWED_AFTER_S)
        load_obstore()

    @property
    def label(self) -> str:
        """What messages call the store."""
        return self._parsed.label

    def ingest(self, name: PackName, source: Path) -> None:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with reported("read the pack", source):
            data = source.read_bytes()
        with bucket_errors(f"store a pack in {self.label}", missing=self._absent_bucket):
            try:
                put = load_obstore().put(self._bucket(), self._key(name), data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                put = None
        if put is None:
            try:
                is_this = self.size_bytes(name) == len(data) and self._ends_with(name, data)
            except FileNotFoundError:
                raise StorageFailed(
                    f"cannot store a pack in {self.label}: the bucket says that there is one, and has none",
                    hint="try again",
                ) from None
            if not is_this:
                raise AlreadyExists(
                    f"another pack is stored as {name.pack_id.hex()}.pack", hint="build the pack again under a new id"
                )
        elif not _is_md5_of(data, put.get("e_tag")) and not self._ends_with(name, data):
            raise StorageFailed(
                f"cannot store a pack in {self.label}: the bucket says that it did, and does not have it",
                hint="check what is between the server and the bucket",
            )

    def _ends_with(self, name: PackName, pack: bytes) -> bool:
        """Whether the stored pack ends as this one: its footer holds a checksum over all its objects' digests."""
        try:
            return self.read(name, max(0, len(pack) - FOOTER_BYTES), FOOTER_BYTES) == pack[-FOOTER_BYTES:]
        except FileNotFoundError:
            return False

    def open(self, name: PackName) -> StoredRange:
        return StoredRange(self, name)

    def read(self, name: PackName, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        with bucket_errors(f"read a pack in {self.label}", missing=self._absent_bucket):
            try:
                return bytes(load_obstore().get_range(self._bucket(), self._key(name), start=offset, length=length))
            except base_error() as error:
                if is_beyond_the_end(error):
                    return b""
                raise

    def size_bytes(self, name: PackName) -> int:
        with bucket_errors(f"look at a pack in {self.label}", missing=self._absent_bucket):
            return int(load_obstore().head(self._bucket(), self._key(name))["size"])

    def delete(self, name: PackName) -> None:
        with self._lock:
            self._urls.pop(name, None)
        with bucket_errors(f"delete a pack in {self.label}", missing=self._absent_bucket):
            try:
                load_obstore().delete(self._bucket(), self._key(name))
            except FileNotFoundError as error:  # some servers say so
                if absent_bucket(error):
                    raise

    def delete_project(self, project_uid: bytes) -> None:
        """Nothing: a bucket has no directories."""

    def files(self, project_uid: bytes | None = None) -> Iterator[StoredFile]:
        below = f"{PACKS}/" if project_uid is None else f"{PACKS}/{project_uid.hex()}/"
        with bucket_errors(f"list {self.label}", missing=self._absent_bucket):
            for chunk in load_obstore().list(self._bucket(), below, chunk_size=_LIST_CHUNK):
                for found in chunk:
                    place = found["path"].removeprefix(f"{PACKS}/")
                    yield StoredFile(place, name_at(place))

    def set_aside(self, place: str, mark: str) -> str:
        aside = f"{place.replace('/', '-')}.{mark}"
        with bucket_errors(f"move an object in {self.label}", missing=self._absent_bucket):
            load_obstore().copy(self._bucket(), f"{PACKS}/{place}", f"{QUARANTINE}/{aside}")
            load_obstore().delete(self._bucket(), f"{PACKS}/{place}")
        return aside

    def internal_path(self, name: PackName) -> str:
        return place_of(name)

    def url(self, name: PackName) -> str:
        with self._lock:
            known: str | None = self._urls.get(name)
        if known is not None:
            return known
        with bucket_errors(f"sign a URL of {self.label}", missing=self._absent_bucket):
            signed: str = load_obstore().sign(self._bucket(), "GET", self._key(name), timedelta(seconds=URL_LIFE_S))
        with self._lock:
            self._urls[name] = signed
        return signed

    def check(self) -> None:
        with bucket_errors(f"list {self.label}", missing=lambda: True):
            next(iter(load_obstore().list(self._bucket(), f"{PACKS}/", chunk_size=1)), None)

    def _key(self, name: PackName) -> str:
        return f"{PACKS}/{place_of(name)}"

    def _absent_bucket(self) -> bool:
        """Whether it is the bucket that is not there: the answer to HEAD does not tell. Raises what asking raises."""
        try:
            next(iter(load_obstore().list(self._bucket(), f"{PACKS}/", chunk_size=1)), None)
        except base_error() as error:
            if absent_bucket(error):
                return True
            raise
        except FileNotFoundError:
            return True
        return False

    def _bucket(self) -> S3Store | GCSStore | AzureStore:
        claim_process()
        with self._lock:
            if self._client is None:
                self._client = self._parsed.connect(self._timeouts, self._credentials)
            client: S3Store | GCSStore | AzureStore = self._client
            return client


class StoredRange:
    """The `PackBytes` of an object, read in large pieces, the last of which is kept. Has one owner at a time."""

    def __init__(self, store: ObjectStore, name: PackName) -> None:
        self._store = store
        self._name = name
        self.label = f"{store.label}: {name.pack_id.hex()}.pack"
        self.size_bytes = store.size_bytes(name)
        self._start = 0
        self._window = b""

    def pread(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size_bytes - offset))
        at = offset - self._start
        if at < 0 or at + length > len(self._window):
            self._window = self._store.read(
                self._name, offset, max(length, min(WINDOW_BYTES, self.size_bytes - offset))
            )
            self._start, at = offset, 0
        return self._window[at : at + length]

    def close(self) -> None:
        self._window = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_claimed: list[int] = []
"""The process that obstore's threads are in; one of its own for all stores."""


def _is_md5_of(data: bytes, e_tag: str | None) -> bool:
    """What S3's tag of an object is, unless a key management service encrypted it; other services have other tags."""
    return (e_tag or "").strip('"') == md5(data, usedforsecurity=False).hexdigest()


def claim_process() -> None:
    if not _claimed:
        _claimed.append(os.getpid())
    if _claimed[0] != os.getpid():
        raise StorageFailed(
            "a bucket cannot be used in a process forked from one that has used it",
            hint="open the registry only after forking",
        )


def load_obstore() -> Any:
    try:
        import obstore
    except ImportError:
        raise MachineNotReady("a bucket needs the package obstore", hint="pip install 'artfs[server]'") from None
    return obstore


def base_error() -> type[Exception]:
    from obstore.exceptions import BaseError

    return BaseError
