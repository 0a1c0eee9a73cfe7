"""The unit that `artfs mount --systemd-unit` prints: one mount as a service of systemd, for a user or for the machine."""

from __future__ import annotations

import shutil
import sys
from enum import Enum
from pathlib import Path

from artfs.config import DEFAULT, Config
from artfs.fuse.mount_options import MountOptions

# TimeoutStartSec: opening a registry may mean upgrading it. KillMode: the supervisor ends the process that serves, which makes
# everything staged durable. OOMPolicy: the supervisor mounts again when the kernel has killed that process. After a death of
# both, a new `artfs mount` replaces the dead mount.
_UNIT = """\
[Unit]
Description=artfs at {described}

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
KillMode=mixed
OOMPolicy=continue
Restart=on-failure
RestartSec=1
TimeoutStartSec=150
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""
_SETTINGS = ("registry", "data_dir", "cache_dir", "cache", "state_dir", "runtime_dir", "log_level")


def mount_unit(mountpoint: Path, config: Config, options: MountOptions) -> str:
    """The text of a unit that mounts at `mountpoint`, supervised. Settings from the environment of now are written into it."""
    command = [*_program(), "mount", "--foreground", "--supervise"]
    settings = {name: _value(getattr(config, name)) for name in _SETTINGS if _is_given(config, name)}
    if _is_given(config, "cache_size"):
        settings["cache_size"] = str(config.cache_size_bytes)
    flags = {"read_only": "--read-only", "pin": "--pin", "allow_other": "--allow-other"}
    command += [flag for name, flag in flags.items() if getattr(options, name)]
    listed = [*(f"{name}={value}".replace(",", "\\,") for name, value in settings.items()), *options.kernel]
    command += [*(["-o", ",".join(listed)] if listed else []), "--", str(mountpoint)]
    return _UNIT.format(described=_escaped(str(mountpoint)), command=" ".join(map(_quoted, command)))


def _is_given(config: Config, name: str) -> bool:
    """Whether a setting has to be said: it is neither the default nor in the configuration file."""
    return config.sources[name] not in (DEFAULT, str(config.config_file))


def _value(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    text = str(value)
    return text if "://" in text or not text.startswith(("~", ".")) else str(Path(text).expanduser().absolute())


def _program() -> list[str]:
    """How this program is called, whatever the working directory and PATH are."""
    found = shutil.which(sys.argv[0])
    return [sys.executable, "-m", "artfs"] if found is None else [str(Path(found).absolute())]


def _quoted(word: str) -> str:
    """A word of ExecStart. `$` and `%` mean something to systemd."""
    text = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return text if text and not set(text) & set(" \t'\"\\;") else f'"{text}"'


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
