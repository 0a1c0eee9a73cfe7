"""References by s3:, to objects of a bucket, with the keys and the endpoint that the environment has for such tools."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from artfs.client.references.policy import Policy
from artfs.client.references.source import Located, Told, too_many
from artfs.errors import InvalidValue, ReferenceChanged, ReferenceUnavailable, StorageFailed
from artfs.model.names import check_file_name
from artfs.store.bucket_objects import BucketObjects, ObjectState, StateDiffers, check_key
from artfs.vfs.ports import Bytes

BUCKETS_MAX = 64
_HINT = "check the variables AWS_*, and that their keys may read there; AWS_SKIP_SIGNATURE=true reads a public bucket"
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")

_T = TypeVar("_T")


class S3Source:
    """Implements `Source`."""

    is_local = False

    def __init__(self, policy: Policy, environ: Mapping[str, str]) -> None:
        self._policy = policy
        self._endpoint = next((environ[name] for name in _ENDPOINTS if environ.get(name)), "")
        self._lock = threading.Lock()
        self._buckets: dict[str, BucketObjects] = {}

    def close(self) -> None:
        pass

    def whole_md5(self, uri: str) -> bytes | None:
        return None

    def locate(self, uri: str, objects_max: int) -> list[Located]:
        """An object; or every object below a prefix, if there is no object of that name or it ends with a slash."""
        bucket, key = _parts(uri)
        objects = self._objects(bucket)
        try:
            if key and not key.endswith("/"):
                try:
                    state = objects.head(check_key(key))
                    return [Located(check_file_name(key.rpartition("/")[2]), uri, _told(state))]
                except FileNotFoundError:
                    pass
            return _below(objects, uri, bucket, key.rstrip("/"), objects_max)
        except StateDiffers as differs:
            raise ReferenceUnavailable(f"{uri} cannot be looked at: {differs}") from None
        except StorageFailed as error:
            raise ReferenceUnavailable(error.message, hint=_HINT) from None

    def receive(
        self,
        uri: str,
        span: tuple[int, int] | None,
        etag: str,
        expected_bytes: int,
        take: Callable[[Told, Iterator[Bytes]], _T],
    ) -> _T:
        bucket, key = _parts(uri)

        def receive(state: ObjectState, pieces: Iterator[Bytes]) -> _T:
            return take(_told(state)._replace(start=span[0] if span else 0, is_whole=span is None), pieces)

        try:
            return self._objects(bucket).receive(check_key(key), span, etag, receive)
        except StateDiffers as differs:
            raise ReferenceChanged(
                f"{uri} is not what it was when it was referred to: {differs}", hint="add the reference again"
            ) from None
        except FileNotFoundError as error:
            raise ReferenceUnavailable(str(error), hint="see whether it is still there") from None
        except StorageFailed as error:
            raise ReferenceUnavailable(error.message, hint=_HINT) from None

    def _objects(self, bucket: str) -> BucketObjects:
        self._policy.check_s3(self._endpoint)
        with self._lock:
            if bucket not in self._buckets:
                if len(self._buckets) >= BUCKETS_MAX:
                    self._buckets.clear()
                self._buckets[bucket] = BucketObjects(bucket, self._endpoint)
            return self._buckets[bucket]


def _parts(uri: str) -> tuple[str, str]:
    """Bucket and key. Raises InvalidValue."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or "@" in bucket:
        raise InvalidValue(f"{uri!r} is no object of a bucket", hint="write s3://BUCKET/KEY")
    return bucket, key


def _below(objects: BucketObjects, uri: str, bucket: str, prefix: str, objects_max: int) -> list[Located]:
    found: list[Located] = []
    for state in objects.list(check_key(prefix) if prefix else ""):
        path = state.key.removeprefix(prefix).lstrip("/")
        if state.key.endswith("/") and not state.size_bytes:
            continue  # what consoles make to show a directory
        if len(found) >= objects_max:
            raise too_many(uri, objects_max)
        for part in path.split("/"):
            check_file_name(part)
        found.append(Located(path, f"s3://{bucket}/{state.key}", _told(state), is_below=True))
    if not found:
        raise ReferenceUnavailable(f"there is nothing at {uri}", hint="check its name, and that the keys may list it")
    return sorted(found)


def _told(state: ObjectState) -> Told:
    return Told(state.size_bytes, state.etag, state.etag)
