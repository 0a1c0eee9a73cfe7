"""Every error has an exit code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from artfs import errors
from artfs.cli.exit_codes import EXIT_CODES, exit_code


def all_errors(base: type[errors.ArtfsError] = errors.ArtfsError) -> Iterator[type[errors.ArtfsError]]:
    yield base
    for child in base.__subclasses__():
        yield from all_errors(child)


def test_every_error_class_has_a_row_and_every_row_a_class() -> None:
    assert set(EXIT_CODES) == {cls.code for cls in all_errors()}


def test_every_error_class_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in all_errors()]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("cls", list(all_errors()))
def test_no_error_looks_like_success_or_like_a_signal(cls: type[errors.ArtfsError]) -> None:
    assert 1 <= exit_code(cls("something happened")) < 126
