"""Mount options as `-o` and /etc/fstab give them: artfs's own, the kernel's, and those that mean something to mount(8) alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from artfs.errors import InvalidValue

# What mount(8), systemd and fstab use themselves; a file system ignores them.
_IGNORED = frozenset(
    {"defaults", "rw", "async", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group"}
    | {"exec", "suid", "nosuid", "dev", "nodev", "relatime", "norelatime", "strictatime", "nostrictatime"}
    | {"lazytime", "nolazytime", "silent", "loud"}
)
_IGNORED_PREFIXES = ("x-", "comment=", "X-")
# What the kernel applies to the mount.
_KERNEL = frozenset({"noexec", "noatime", "nodiratime", "sync", "dirsync"})
_SETTINGS = frozenset(
    {"registry", "data_dir", "cache_dir", "cache_size", "cache", "state_dir", "runtime_dir", "log_level"}
)


@dataclass(frozen=True, slots=True)
class MountOptions:
    """What a mount was asked for.

    Attributes:
        supervise: mount again whenever the mount's process dies.
        settings: configuration given as `name=value` (`registry=...`), which `artfs.config` reads.
        kernel: options passed on to the kernel.
    """

    read_only: bool = False
    pin: bool = False
    allow_other: bool = False
    foreground: bool = False
    supervise: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    kernel: tuple[str, ...] = ()


def parse_mount_options(lists: Iterable[str]) -> MountOptions:
    """Read `-o` lists. The last of contradicting options wins. Raises InvalidValue for an unknown one."""
    flags = {"ro": False, "pin": False, "allow_other": False, "foreground": False, "supervise": False}
    settings: dict[str, str] = {}
    kernel: dict[str, None] = {}
    for option in (option.strip() for text in lists for option in _split(text)):
        name, equals, value = option.partition("=")
        if option == "rw":
            flags["ro"] = False
        elif option in flags:
            flags[option] = True
        elif equals and name in _SETTINGS:
            settings[name] = value
        elif option in _KERNEL:
            kernel[option] = None
        elif option and option not in _IGNORED and not option.startswith(_IGNORED_PREFIXES):
            raise InvalidValue(
                f"unknown mount option {option!r}",
                hint=f"known: {', '.join([*flags, *(f'{s}=' for s in sorted(_SETTINGS))])}",
            )
    return MountOptions(
        read_only=flags["ro"],
        pin=flags["pin"],
        allow_other=flags["allow_other"],
        foreground=flags["foreground"],
        supervise=flags["supervise"],
        settings=settings,
        kernel=tuple(kernel),
    )


def _split(text: str) -> list[str]:
    """Options between commas; a comma in a value is written `\\,`, as mount(8) of FUSE file systems takes it."""
    return [part.replace("\0", ",") for part in text.replace("\\,", "\0").split(",")]
