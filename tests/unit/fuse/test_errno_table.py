"""Every error has an errno."""

from __future__ import annotations

import errno

import pytest

from artfs import errors
from artfs.errors import ArtfsError
from artfs.fuse.errno_table import ERRNOS, EXPECTED, errno_of

pytestmark = [pytest.mark.falsifies("posix", "no-hang", "references")]

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


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (errors.AccessDenied, errno.EACCES),
        (errors.NotAuthenticated, errno.EACCES),
        (errors.AlreadyExists, errno.EEXIST),
        (errors.Busy, errno.EBUSY),
        (errors.InvalidName, errno.EINVAL),
        (errors.UnsupportedFile, errno.EINVAL),
        (errors.NotEmpty, errno.ENOTEMPTY),
        (errors.ProjectNotFound, errno.ENOENT),
        (errors.VersionNotFound, errno.ENOENT),
        (errors.ObjectMissing, errno.EIO),
        (errors.StorageFull, errno.ENOSPC),
        (errors.StorageFailed, errno.EIO),
        (errors.RegistryUnavailable, errno.EHOSTUNREACH),
        (errors.ReferenceChanged, errno.ESTALE),
        (errors.ReferenceForbidden, errno.EACCES),
        (errors.ReferenceUnavailable, errno.EIO),
    ],
)
def test_programs_see_the_errno_that_is_promised_for_the_cause(kind: type[ArtfsError], expected: int) -> None:
    """As docs/semantics.md has it."""
    assert errno_of(kind("what happened")) == expected
