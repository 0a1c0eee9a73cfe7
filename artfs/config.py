"""Where artfs keeps things and which registry it speaks to: read once, in one place, into one frozen object.

For each setting the first of these that names it wins: the command line, the environment (`ARTFS_*`), the configuration file
(`artfs/config.toml` in the XDG configuration directory, or what `ARTFS_CONFIG` names), the default. `Config.sources` remembers
which it was, so that `artfs doctor` can say so.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from artfs.errors import InvalidName, InvalidValue, StorageFailed
from artfs.model.names import check_name
from artfs.model.sizes import parse_size
from artfs.store.durable import write_private

DEFAULT_CACHE_SIZE = "10GiB"
DEFAULT_PROJECT = "uncategorized"
_SETTINGS = (
    *("registry", "data_dir", "cache_dir", "cache_size", "cache", "state_dir", "runtime_dir", "log_level"),
    *("database", "storage", "encryption_keys", "ca_file", "reference_schemes", "reference_hosts", "project"),
    "learn",
)
DATABASE_FILE = "registry.db"
WANDB_PREFIX = "wandb+"
DEFAULT = "default"  # where a setting came from that nobody set
_REFERENCE_SCHEMES = ("https", "http", "s3", "file")
_LOG_LEVELS = ("debug", "info", "warning", "error")


class LearnMode(Enum):
    """When mounts learn which objects programs read as they start, and fetch them ahead the next time."""

    AUTO = "auto"  # unless the registry is a directory of this machine
    NEVER = "never"


class CacheMode(Enum):
    """When objects read from a registry are kept on local disk too."""

    AUTO = "auto"  # unless the registry is a directory of this machine
    ALWAYS = "always"  # also then: for a registry on a slow or network file system
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, resolved.

    Attributes:
        registry: a directory, an http(s) URL, or that of a W&B server: `wandb+https://HOST/ENTITY`.
        data_dir: staging directories; what must not be lost.
        cache_dir: what can be fetched again.
        state_dir: logs and the records of running mounts.
        runtime_dir: sockets; gone after a reboot.
        database: of a registry that this machine opens itself: `sqlite:PATH` or `postgresql://...`; empty for the one in
            its directory.
        storage: where such a registry's packs are: a directory, `s3://bucket/prefix`, `gs://...`, `az://...`; empty for
            its directory.
        encryption_keys: a file of keys that packs in a directory are encrypted with; empty for none.
        ca_file: certificates (PEM) that a server's is checked against besides the usual ones; empty for none.
        reference_schemes: which references are followed; `file` only where `has_own_files`.
        reference_hosts: of http(s) references: `public` for every host whose addresses are all public, `*` for any, or
            patterns such as `*.corp.example` and `localhost:9000`.
        project: where runs and artifacts go that name no project.
        learn: whether starts of programs are learned from.
        sources: where each setting came from, by name.
    """

    registry: str
    data_dir: Path
    cache_dir: Path
    cache_size_bytes: int
    cache: CacheMode
    state_dir: Path
    runtime_dir: Path
    log_level: str
    database: str
    storage: str
    encryption_keys: str
    ca_file: str
    reference_schemes: tuple[str, ...]
    reference_hosts: tuple[str, ...]
    project: str
    learn: LearnMode
    config_file: Path
    sources: Mapping[str, str]

    @property
    def is_remote(self) -> bool:
        return "://" in self.registry and not self.registry.startswith("file://")

    @property
    def is_wandb(self) -> bool:
        """Whether the registry is what a W&B server has: it is read, not written."""
        return self.registry.startswith(WANDB_PREFIX)

    @property
    def is_shared(self) -> bool:
        """Whether the registry that this machine opens itself is in a PostgreSQL that other machines use too."""
        return self.database.startswith(("postgresql://", "postgres://"))

    @property
    def has_own_files(self) -> bool:
        """Whether the registry is a directory of this machine, so that a path in it means the same to all its users."""
        return not self.is_remote and not self.is_shared

    def for_others(self) -> Config:
        """The settings of a mount that other users of this machine see: files are referred to with the mounter's rights, so
        they are only followed there if `reference_schemes` was set to say so.
        """
        if self.sources["reference_schemes"] != DEFAULT:
            return self
        return replace(self, reference_schemes=tuple(scheme for scheme in self.reference_schemes if scheme != "file"))

    @property
    def is_in_bucket(self) -> bool:
        """Whether the packs of a registry that this machine opens itself are in a bucket."""
        return "://" in self.storage

    @property
    def credentials(self) -> Path:
        """Where tokens are kept, one a server."""
        return self.config_file.with_name("credentials.json")

    @property
    def described_registry(self) -> str:
        """What a registry that this machine opens itself is called, without secrets."""
        database = without_password(self.database) if self.is_shared else str(self.registry_dir)
        return f"{database} with packs in {without_password(self.storage)}" if self.storage else database

    @property
    def registry_dir(self) -> Path:
        """The directory of a registry that this machine opens itself, absolute.

        `sqlite:PATH` names it or the database in it; what one in PostgreSQL keeps on this machine is in `data_dir`.
        """
        if self.is_shared:
            return self.data_dir / "shared"
        if self.database:
            path = _path(self.database.removeprefix("sqlite:"))
            return path.parent if path.name == DATABASE_FILE else path
        return _path(self.registry.removeprefix("file://"))


def load_config(overrides: Mapping[str, str | None], environ: Mapping[str, str]) -> Config:
    """Resolve all settings.

    Args:
        overrides: settings given on the command line; None means not given.
        environ: the environment.

    Raises InvalidValue naming the setting and where it was found.
    """
    config_file = _config_file(environ)
    from_file = _read_file(config_file)
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    defaults = _defaults(environ)
    for name in _SETTINGS:
        variable = f"ARTFS_{name.upper()}"
        candidates = (
            (overrides.get(name), "command line"),
            (environ.get(variable) or None, variable),
            (from_file.get(name), str(config_file)),
            (defaults[name], DEFAULT),
        )
        values[name], sources[name] = next((str(v), source) for v, source in candidates if v is not None)
    _checked(_database, "database", values, sources)
    _checked(_storage, "storage", values, sources)
    return Config(
        registry=values["registry"],
        data_dir=_path(values["data_dir"]),
        cache_dir=_path(values["cache_dir"]),
        cache_size_bytes=_checked(parse_size, "cache_size", values, sources),
        cache=CacheMode(_one_of([mode.value for mode in CacheMode], "cache", values, sources)),
        state_dir=_path(values["state_dir"]),
        runtime_dir=_path(values["runtime_dir"]),
        log_level=_one_of(list(_LOG_LEVELS), "log_level", values, sources),
        database=values["database"],
        storage=values["storage"],
        encryption_keys=values["encryption_keys"],
        ca_file=values["ca_file"],
        reference_schemes=_checked(_schemes, "reference_schemes", values, sources),
        reference_hosts=_checked(_hosts, "reference_hosts", values, sources),
        project=_checked(_project, "project", values, sources),
        learn=LearnMode(_one_of([mode.value for mode in LearnMode], "learn", values, sources)),
        config_file=config_file,
        sources=sources,
    )


def without_password(url: str) -> str:
    """A URL's scheme, host and path: all of it that may be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else url


def _config_file(environ: Mapping[str, str]) -> Path:
    named = environ.get("ARTFS_CONFIG")
    return Path(named).expanduser() if named else Path(platformdirs.user_config_dir("artfs")) / "config.toml"


def _defaults(environ: Mapping[str, str]) -> dict[str, str]:
    data = Path(platformdirs.user_data_dir("artfs"))
    state = Path(platformdirs.user_state_dir("artfs"))
    runtime = environ.get("XDG_RUNTIME_DIR")
    return {
        "registry": str(data / "registry"),
        "data_dir": str(data),
        "cache_dir": platformdirs.user_cache_dir("artfs"),
        "cache_size": DEFAULT_CACHE_SIZE,
        "cache": CacheMode.AUTO.value,
        "state_dir": str(state),
        "runtime_dir": str(Path(runtime) / "artfs" if runtime else state / "run"),
        "log_level": "info",
        "database": "",
        "storage": "",
        "encryption_keys": "",
        "ca_file": "",
        "reference_schemes": "https,http,s3,file",
        "reference_hosts": "public",
        "project": DEFAULT_PROJECT,
        "learn": LearnMode.AUTO.value,
    }


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise InvalidValue(f"{path} is not UTF-8", hint="mend or remove the file") from None
    except OSError as error:
        raise StorageFailed(f"cannot read the configuration file {path}: {error.strerror}") from None
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidValue(f"{path} is not valid TOML: {error}", hint="mend or remove the file") from None
    unknown = sorted(set(found) - set(_SETTINGS))
    if unknown:
        raise InvalidValue(f"{path} has an unknown setting {unknown[0]!r}", hint=f"known: {', '.join(_SETTINGS)}")
    return found


def set_in_file(path: Path, name: str, value: str) -> None:
    """Set one setting in the configuration file, created if absent; all else in it stays as it is.

    Raises InvalidValue if the file is not valid, StorageFailed.
    """
    before = _read_file(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        setting = f"{name} = {json.dumps(value)}\n"
        there = re.compile(rf"\s*{re.escape(name)}\s*=")
        changed = [setting if there.match(line) else line for line in lines] if name in before else [setting, *lines]
        text = "".join(changed)
        if tomllib.loads(text) != {**before, name: value}:
            raise InvalidValue(f"{path} is written in a way that cannot be changed", hint=f"set {name} in it by hand")
        write_private(path, text.encode())  # a database's URL may hold a password
    except tomllib.TOMLDecodeError:
        raise InvalidValue(f"{path} is written in a way that cannot be changed", hint=f"set {name} by hand") from None
    except OSError as error:
        raise StorageFailed(f"cannot write the configuration file {path}: {error.strerror}") from None


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _project(text: str) -> str:
    try:
        return check_name("project", text)
    except InvalidName as error:
        raise InvalidValue(error.message, hint=error.hint) from None


def _storage(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    if colon and "/" not in scheme and not (scheme in ("s3", "gs", "az") and rest.startswith("//")):
        raise InvalidValue(f"{text!r} is no place for packs", hint="write a directory, or s3://, gs:// or az://BUCKET")
    return text


def _database(text: str) -> str:
    if text and not text.startswith(("sqlite:", "postgresql://", "postgres://")):
        raise InvalidValue(f"{text!r} is not a database", hint="write sqlite:PATH or postgresql://USER@HOST/NAME")
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _schemes(text: str) -> tuple[str, ...]:
    words = _words(text)
    unknown = [word for word in words if word not in _REFERENCE_SCHEMES]
    if unknown:
        raise InvalidValue(f"{unknown[0]!r} is no scheme", hint=f"known: {', '.join(_REFERENCE_SCHEMES)}")
    return words


def _hosts(text: str) -> tuple[str, ...]:
    words = _words(text)
    strange = [word for word in words if "/" in word or "@" in word]
    if strange:
        raise InvalidValue(
            f"{strange[0]!r} is no host", hint="write public, *, or HOST or HOST:PORT, such as *.corp.example"
        )
    return words


def _checked(parse: Any, name: str, values: Mapping[str, str], sources: Mapping[str, str]) -> Any:
    try:
        return parse(values[name])
    except InvalidValue as error:
        raise InvalidValue(f"{name} from {sources[name]}: {error.message}", hint=error.hint) from None


def _one_of(allowed: list[str], name: str, values: Mapping[str, str], sources: Mapping[str, str]) -> str:
    if values[name] not in allowed:
        raise InvalidValue(
            f"{name} from {sources[name]} is {values[name]!r}", hint=f"it must be one of: {', '.join(allowed)}"
        )
    return values[name]
