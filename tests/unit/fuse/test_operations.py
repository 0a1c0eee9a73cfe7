"""Whatever goes wrong below, a handler raises FUSEError and nothing else: anything else would end the mount."""

from __future__ import annotations

import errno
import inspect
import logging
from typing import Any, cast

import pyfuse3
import pytest

from artfs.errors import AlreadyExists, DamagedObject, RegistryUnavailable
from artfs.fuse.operations import FuseOperations
from artfs.vfs.filesystem import Filesystem

pytestmark = [pytest.mark.falsifies("no-end")]

CONTEXT = cast("pyfuse3.RequestContext", type("Context", (), {"uid": 0, "gid": 0, "pid": 1, "umask": 0})())

REQUESTS: dict[str, tuple[Any, ...]] = {
    "lookup": (1, b"x", CONTEXT),
    "mkdir": (1, b"x", 0o755, CONTEXT),
    "mknod": (1, b"x", 0o644, 0, CONTEXT),
    "symlink": (1, b"x", b"y", CONTEXT),
    "link": (2, 1, b"x", CONTEXT),
    "unlink": (1, b"x", CONTEXT),
    "rmdir": (1, b"x", CONTEXT),
    "rename": (1, b"x", 1, b"y", 0, CONTEXT),
    "getattr": (1, CONTEXT),
    "setattr": (1, pyfuse3.EntryAttributes(), pyfuse3.SetattrFields(), None, CONTEXT),
    "readlink": (1, CONTEXT),
    "statfs": (CONTEXT,),
    "open": (1, 0, CONTEXT),
    "create": (1, b"x", 0o644, 0, CONTEXT),
    "read": (1, 0, 1),
    "write": (1, 0, b"x"),
    "fsync": (1, False),
    "release": (1,),
    "opendir": (1, CONTEXT),
    "readdir": (1, 0, pyfuse3.ReaddirToken()),
    "fsyncdir": (1, False),
    "releasedir": (1,),
    "getxattr": (1, b"user.x", CONTEXT),
    "listxattr": (1, CONTEXT),
    "setxattr": (1, b"user.x", b"y", CONTEXT),
    "removexattr": (1, b"user.x", CONTEXT),
}


class Broken:
    """A filesystem in which every call raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    @property
    def names(self) -> Broken:
        return self

    attributes = handles = xattrs = names

    def __getattr__(self, name: str) -> Any:
        async def call(*args: object) -> None:
            raise self._error

        def forget(inode: int, count: int) -> None:
            raise self._error

        return forget if name == "forget" else call


def broken(error: BaseException) -> FuseOperations:
    return FuseOperations(cast(Filesystem, Broken(error)))


def test_every_handler_is_tested() -> None:
    handlers = {name for name, member in vars(FuseOperations).items() if inspect.iscoroutinefunction(member)}
    untranslated = handlers - set(REQUESTS) - {"forget", "flush"}
    assert untranslated == set()
    assert set(REQUESTS) <= set(vars(FuseOperations))


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (OSError("without errno"), errno.EIO),
        (AlreadyExists("there"), errno.EEXIST),
        (DamagedObject("bits"), errno.EIO),
        (RegistryUnavailable("away"), errno.EHOSTUNREACH),
        (MemoryError(), errno.ENOMEM),
        (ZeroDivisionError("surprise"), errno.EIO),
        (ExceptionGroup("many", [ValueError()]), errno.EIO),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_any_error_becomes_an_errno(request_name: str, error: Exception, expected: int) -> None:
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(broken(error), request_name)(*REQUESTS[request_name])
    assert caught.value.errno == expected


async def test_forget_raises_nothing_at_all() -> None:
    operations = broken(MemoryError())
    await operations.forget([(2, 1), (3, 1)])
    assert len(operations.last_errors) == 2


async def test_an_unexpected_error_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    operations = broken(ZeroDivisionError("surprise"))
    with pytest.raises(pyfuse3.FUSEError):
        await operations.read(1, 0, 1)
    assert "Traceback" in caplog.text
    assert list(operations.last_errors) == ["read: surprise"]


async def test_a_callers_mistake_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    operations = broken(AlreadyExists("there"))
    with caplog.at_level(logging.INFO), pytest.raises(pyfuse3.FUSEError):
        await operations.mkdir(1, b"x", 0o755, CONTEXT)
    assert caplog.text == ""
    assert list(operations.last_errors) == []


async def test_even_logging_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(logging.Logger, "error", fail)
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await broken(ZeroDivisionError()).read(1, 0, 1)
    assert caught.value.errno == errno.EIO


async def test_flush_is_refused_so_that_the_kernel_stops_sending_it() -> None:
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await broken(OSError()).flush(1)
    assert caught.value.errno == errno.ENOSYS


@pytest.mark.parametrize("request_name", ["lookup", "mkdir", "unlink", "rmdir", "create"])
async def test_names_that_are_not_utf_8_are_refused(request_name: str) -> None:
    arguments = (REQUESTS[request_name][0], b"\xff", *REQUESTS[request_name][2:])
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(broken(OSError(errno.EPERM, "")), request_name)(*arguments)
    assert caught.value.errno == errno.EILSEQ
