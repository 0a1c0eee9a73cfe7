"""The registry's directory: what is where, and the marker file that says that a directory is one.

ROOT/artfs-registry      format number and identity, JSON; written once
ROOT/registry.db         the database (SQLite; -wal and -shm beside it)
ROOT/packs/              see store/packs.py
ROOT/spool/              packs under construction, each in a directory that goes with its process (store/owned.py)
ROOT/maintenance.lock    held while packs are rewritten and deleted
ROOT/records/            a copy of every version's record, see records.py
ROOT/quarantine/         damaged packs that a repair set aside
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from artfs.errors import DamagedDatabase, NewerFormat, StorageFailed
from artfs.store.durable import DIRECTORY_MODE, make_private, reported, sync_directory, write_file

REGISTRY_FORMAT = 1
IDENTITY_BYTES = 16
_MARKER = "artfs-registry"


class Marker(msgspec.Struct, frozen=True):
    """The content of the marker file."""

    format: int
    identity: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths inside a registry's directory."""

    root: Path

    @property
    def marker(self) -> Path:
        return self.root / _MARKER

    @property
    def database(self) -> Path:
        return self.root / "registry.db"

    @property
    def packs(self) -> Path:
        return self.root / "packs"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def maintenance_lock(self) -> Path:
        return self.root / "maintenance.lock"

    @property
    def records(self) -> Path:
        return self.root / "records"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"


def open_layout(root: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> tuple[Layout, Marker]:
    """The registry in `root`, made one if it is empty or absent.

    Raises NewerFormat, DamagedDatabase for an unreadable marker, StorageFailed for a directory that holds something else.
    """
    layout = Layout(root)
    if not layout.marker.exists():
        if layout.database.exists() and not layout.marker.exists():  # it is made after the marker
            raise DamagedDatabase(f"{layout.marker} is gone", hint="run artfs fsck --repair")
        _create(layout, random_bytes)
    marker = read_marker(layout)
    if _is_empty(layout.database) and _holds_something(layout):
        raise DamagedDatabase(f"{layout.database} is gone or empty", hint="run artfs fsck --repair")
    return layout, marker


def _is_empty(database: Path) -> bool:
    try:
        return database.stat().st_size == 0
    except FileNotFoundError:
        return True


def _holds_something(layout: Layout) -> bool:
    """Whether the registry had projects: one without its database would look like a new one."""
    return any(
        path.is_dir() for parent in (layout.records, layout.packs) if parent.exists() for path in parent.iterdir()
    )


def read_marker(layout: Layout) -> Marker:
    """What the marker says. Raises NewerFormat, DamagedDatabase or StorageFailed."""
    with reported("read", layout.marker):
        data = layout.marker.read_bytes()
    try:
        marker = msgspec.json.decode(data, type=Marker)
    except (msgspec.DecodeError, ValueError):
        raise DamagedDatabase(f"{layout.marker} is not readable", hint="run artfs fsck") from None
    if marker.format > REGISTRY_FORMAT:
        raise NewerFormat(f"the registry {layout.root} has format {marker.format}", hint="upgrade artfs")
    return marker


def _create(layout: Layout, random_bytes: Callable[[int], bytes]) -> None:
    with reported("create the registry", layout.root):
        make_private(layout.root)
        expected = {"packs", "spool", "registry.db", "maintenance.lock", "records", "quarantine"}
        strange = [name for name in os.listdir(layout.root) if name not in expected and not _is_marker_draft(name)]
        if strange and not layout.marker.exists():
            raise StorageFailed(
                f"{layout.root} is not a registry: it holds {sorted(strange)[0]}",
                hint="name an empty or a new directory",
            )
        for directory in (layout.packs, layout.spool, layout.records):
            directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        write_marker(layout, Marker(REGISTRY_FORMAT, random_bytes(IDENTITY_BYTES).hex()))


def _is_marker_draft(name: str) -> bool:
    """Whether it is what another process, which makes this registry too, is about to name the marker, or left behind."""
    return name.startswith(".") and name.lstrip(".").startswith(_MARKER)


def write_marker(layout: Layout, marker: Marker) -> None:
    """Create the marker unless another process was faster. Raises OSError."""
    draft = layout.root / f".{_MARKER}.{os.urandom(8).hex()}"
    try:
        write_file(draft, msgspec.json.encode(marker) + b"\n")
        with suppress(FileExistsError):
            os.link(draft, layout.marker)
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(layout.root)
