"""What every test relies on, whatever it tests: the environment, hypothesis' profile, and the need for FUSE."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A machine under load may take any time for one example; pytest's timeout bounds the whole test.
settings.register_profile("artfs", deadline=None, print_blob=True)
settings.load_profile("artfs")


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, and no process that a test starts, sees the user's configuration or touches the user's registry."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("ARTFS_", "XDG_")):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs FUSE fails without it: to skip it would hide that nothing was tested."""
    if item.get_closest_marker("fuse") is None:
        return
    if not Path("/dev/fuse").exists():
        pytest.fail("/dev/fuse is missing: `modprobe fuse`, or leave these tests out with -m 'not fuse'", pytrace=False)
    if shutil.which("fusermount3") is None:
        pytest.fail("fusermount3 is missing: run scripts/setup --dev", pytrace=False)
