"""What the errors of an object store mean, told without what must not be told.

The text of obstore's errors holds whole answers and URLs; of it only the HTTP status and the service's error code are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from artfs.errors import StorageFailed, StorageFull, Unavailable

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "AccountQuotaExceeded"}
_REFUSED = {401, 403}
_BUSY = {408, 429, 500, 502, 503, 504}


@contextmanager
def bucket_errors(doing: str, *, missing: Callable[[], bool]) -> Iterator[None]:
    """Raise an artfs error for one of obstore's; FileNotFoundError passes unless `missing()` says that the bucket is missing."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if absent_bucket(error):
            raise _no_bucket(doing) from None
        raise_for = _asked(missing, doing)
        if raise_for is not None:
            raise raise_for from None
        raise FileNotFoundError(f"cannot {doing}: it is not there") from None
    except BaseError as error:
        raise storage_error(error, doing) from None


def absent_bucket(error: Exception) -> bool:
    return _found(_CODE, error) in ("NoSuchBucket", "ContainerNotFound")


def is_beyond_the_end(error: Exception) -> bool:
    """Whether a range was refused because it begins where the object has ended."""
    return _found(_STATUS, error) == "416"


def storage_error(error: Exception, doing: str) -> Unavailable:
    """The artfs error that an error of obstore's means."""
    status, code = int(_found(_STATUS, error) or 0), _found(_CODE, error)
    said = " ".join(part for part in (f"status {status}" if status else "", code) if part)
    if code in _FULL or status == 507:
        return StorageFull(f"cannot {doing}: the bucket is full ({said})", hint="raise its quota or free some space")
    if absent_bucket(error):
        return _no_bucket(doing)
    if status in _REFUSED:
        return StorageFailed(
            f"cannot {doing}: the bucket refuses it ({said})",
            hint="check the keys in the environment, and that they may list, get, put and delete there",
        )
    if status in _BUSY:
        return StorageFailed(
            f"cannot {doing}: the bucket does not serve ({said}), also when asked again", hint="try later"
        )
    if status:
        return StorageFailed(
            f"cannot {doing}: the bucket answers {said}", hint="check the bucket and the URL's options"
        )
    return StorageFailed(
        f"cannot {doing}: no answer in time, or no keys for it",
        hint="check the endpoint, the network and the keys in the environment",
    )


def _asked(missing: Callable[[], bool], doing: str) -> Unavailable | None:
    from obstore.exceptions import BaseError

    try:
        return _no_bucket(doing) if missing() else None
    except BaseError as error:
        return storage_error(error, doing)


def _no_bucket(doing: str) -> StorageFailed:
    return StorageFailed(
        f"cannot {doing}: there is no such bucket", hint="create the bucket, or check its name and region"
    )


def _found(pattern: re.Pattern[str], error: Exception) -> str:
    match = pattern.search(str(error))
    return match[1] if match else ""
