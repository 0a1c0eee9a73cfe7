"""Every error has an errno."""

from __future__ import annotations

import errno

import pytest

from artfs import errors
from artfs.errors import ArtfsError
from artfs.fuse.errno_table import ERRNOS, EXPECTED, errno_of

CLASSES = [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, ArtfsError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_in_the_table(kind: type[ArtfsError]) -> None:
    assert errno_of(kind("what happened")) == ERRNOS[kind.code]


def test_the_table_has_no_errors_that_do_not_exist() -> None:
    assert set(ERRNOS) == {kind.code for kind in CLASSES}
    assert set(ERRNOS) >= EXPECTED


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, errors.Damaged)])
def test_damage_is_an_io_error(kind: type[ArtfsError]) -> None:
    assert errno_of(kind("")) == errno.EIO


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (OSError("no errno"), errno.EIO),
        (MemoryError(), errno.ENOMEM),
        (ZeroDivisionError(), errno.EIO),
    ],
)
def test_other_exceptions_have_an_errno_too(error: BaseException, expected: int) -> None:
    assert errno_of(error) == expected
