"""`mount -t fuse.artfs` calls artfs its own way."""

from __future__ import annotations

import pytest

from artfs.cli.main import mount_helper_arguments


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["artfs", "/mnt", "-o", "rw,_netdev"], ["mount", "/mnt", "-o", "rw,_netdev"]),
        (["/data/registry", "/mnt", "-o", "ro"], ["--registry", "/data/registry", "mount", "/mnt", "-o", "ro"]),
        (["mount", "/mnt", "-o", "ro"], ["mount", "/mnt", "-o", "ro"]),
        (["--registry", "/r", "mount", "/mnt", "-o", "ro"], ["--registry", "/r", "mount", "/mnt", "-o", "ro"]),
        (["lst", "/mnt"], ["lst", "/mnt"]),
        ([], []),
    ],
)
def test_only_the_mount_helpers_form_is_translated(given: list[str], meant: list[str]) -> None:
    assert mount_helper_arguments(given) == meant
