"""What may stand behind -o."""

from __future__ import annotations

import pytest

from artfs.errors import InvalidValue
from artfs.fuse.mount_options import MountOptions, parse_mount_options


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], MountOptions()),
        (["rw,noauto,user,_netdev,nofail,x-systemd.automount,relatime"], MountOptions()),
        (["ro"], MountOptions(read_only=True)),
        (["ro", "rw"], MountOptions()),
        (["ro,pin", "allow_other"], MountOptions(read_only=True, pin=True, allow_other=True)),
        (["foreground"], MountOptions(foreground=True)),
        (
            [r"registry=/data/a\,b,cache_size=5GB"],
            MountOptions(settings={"registry": "/data/a,b", "cache_size": "5GB"}),
        ),
        (["noexec, noatime"], MountOptions(kernel=("noexec", "noatime"))),
    ],
)
def test_options_mean(given: list[str], meant: MountOptions) -> None:
    assert parse_mount_options(given) == meant


@pytest.mark.parametrize("option", ["wat", "registry", "pin=1", "ro=yes"])
def test_an_unknown_option_is_named(option: str) -> None:
    with pytest.raises(InvalidValue, match=option):
        parse_mount_options([f"ro,{option}"])
