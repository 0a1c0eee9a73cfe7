"""What every test relies on, whatever it tests: the environment, hypothesis' profile, and the need for FUSE and services."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.reliability import trials
from tests.reliability.promises import PROMISES

# A machine under load may take any time for one example; pytest's timeout bounds the whole test.
settings.register_profile("artfs", deadline=None, print_blob=True)
settings.load_profile("artfs")


@pytest.fixture(scope="session", autouse=True)
def _interrupts() -> None:
    """A run that a shell put into the background ignores interrupts, and so would all that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, and no process that a test starts, sees the user's configuration or touches the user's registry."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("ARTFS_", "XDG_")) and not name.startswith("ARTFS_TEST_"):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        yield


@pytest.fixture(scope="session", autouse=True)
def _template_of_databases() -> Iterator[None]:
    """What tests of this process copied their databases from does not outlive it."""
    yield
    if "tests.registries" in sys.modules:
        sys.modules["tests.registries"].drop_template()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A promise that a test says to falsify is one of those that artfs makes."""
    for item in items:
        if unknown := {name for mark in item.iter_markers("falsifies") for name in mark.args} - set(PROMISES):
            raise pytest.UsageError(
                f"{item.nodeid} falsifies {unknown}: tests/reliability/promises.py has no such promise"
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        trials.count_examples(item)
    trials.note(item, report)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    trials.keep(report)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs FUSE or a service fails without it: to skip it would hide that nothing was tested."""
    trials.forget()
    for marker, missing in (("fuse", _missing_fuse), ("postgres", _missing_postgres), ("s3", _missing_s3)):
        if item.get_closest_marker(marker) is not None and (reason := missing()):
            pytest.fail(f"{reason}, or leave these tests out with -m 'not {marker}'", pytrace=False)


def _missing_fuse() -> str:
    if not Path("/dev/fuse").exists():
        return "/dev/fuse is missing: `modprobe fuse`"
    return "" if shutil.which("fusermount3") else "fusermount3 is missing: run scripts/setup --dev"


def _missing_postgres() -> str:
    return "" if "ARTFS_TEST_POSTGRES" in os.environ else f"there is no PostgreSQL to test with: {_START}"


def _missing_s3() -> str:
    return "" if "ARTFS_TEST_S3" in os.environ else f"there is no S3 server to test with: {_START}"


_START = "run scripts/test, or `scripts/services start DIR; set -a; . DIR/env; set +a`"
