"""Objects of a bucket that somebody else owns: looked at, listed, and read in ranges of one state. Nothing is written.

Speaks S3 with the keys and the endpoint of the environment, as other tools do (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...).
Raises FileNotFoundError for what is not there, StateDiffers, StorageFailed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from artfs.errors import InvalidValue
from artfs.store.bucket_errors import absent_bucket, is_beyond_the_end, storage_error
from artfs.store.bucket_url import BucketUrl, Timeouts
from artfs.store.object_store import base_error, claim_process, load_obstore

PIECE_BYTES = 1 << 20
LIST_CHUNK = 1000
TIMEOUTS = Timeouts(connect_s=5, read_s=10, attempt_s=60, retries=2, retry_s=20)

_T = TypeVar("_T")


class StateDiffers(Exception):
    """The object is in another state than was asked for."""


class ObjectState(NamedTuple):
    """An object's key, length, and the ETag of its present state (with its quotation marks; empty if there is none)."""

    key: str
    size_bytes: int
    etag: str


class BucketObjects:
    """The bucket `name`. Safe from any thread; not to be used in a process forked from one that used it.

    Args:
        endpoint: of the service, from the environment; empty for Amazon's.
        options: further settings of obstore's, such as keys; the environment's are used besides.
    """

    def __init__(
        self, name: str, endpoint: str = "", *, options: dict[str, str] | None = None, timeouts: Timeouts = TIMEOUTS
    ) -> None:
        self.label = f"s3://{name}"
        settings: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
        self._url = BucketUrl("s3", name, "", settings)
        self._options = dict(options or {})
        self._timeouts = timeouts
        self._lock = threading.Lock()
        self._client: Any = None

    def head(self, key: str) -> ObjectState:
        with self._errors(f"look at {self.label}/{key}"):
            return _state(load_obstore().head(self._bucket(), key))

    def list(self, prefix: str) -> Iterator[ObjectState]:
        """The objects whose keys begin with `prefix` and a slash; all for an empty one."""
        with self._errors(f"list {self.label}/{prefix}"):
            for chunk in load_obstore().list(self._bucket(), prefix or None, chunk_size=LIST_CHUNK):
                yield from map(_state, chunk)

    def receive(
        self,
        key: str,
        span: tuple[int, int] | None,
        etag: str,
        take: Callable[[ObjectState, Iterator[memoryview]], _T],
    ) -> _T:
        """What `take` makes of offset and length `span` of the object, or of all of it, in pieces.

        Args:
            etag: raises StateDiffers if it is not the object's; empty for whichever it has.
        """
        options: dict[str, Any] = {}
        if etag:
            options["if_match"] = etag
        if span is not None:
            options["range"] = (span[0], span[0] + span[1])
        with self._errors(f"read {self.label}/{key}"):
            found = load_obstore().get(self._bucket(), key, options=options)
            return take(_state(found.meta), map(memoryview, found.stream(min_chunk_size=PIECE_BYTES)))

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        from obstore.exceptions import PreconditionError

        try:
            yield
        except FileNotFoundError as error:
            if absent_bucket(error):
                raise FileNotFoundError(f"cannot {doing}: there is no such bucket") from None
            raise FileNotFoundError(f"cannot {doing}: it is not there") from None
        except PreconditionError:
            raise StateDiffers("it has another ETag") from None
        except base_error() as error:
            if is_beyond_the_end(error):
                raise StateDiffers("it is shorter") from None
            raise storage_error(error, doing) from None

    def _bucket(self) -> Any:
        claim_process()
        with self._lock:
            if self._client is None:
                self._client = self._url.connect(self._timeouts, self._options)
            return self._client


def _state(found: Any) -> ObjectState:
    etag = found["e_tag"] or ""
    return ObjectState(found["path"], int(found["size"]), etag if etag.startswith('"') else "")


def check_key(key: str) -> str:
    """A key that obstore can name. Raises InvalidValue."""
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise InvalidValue(f"{key!r} is no key that can be referred to", hint="leave out '//', '.' and '..'")
    return key
