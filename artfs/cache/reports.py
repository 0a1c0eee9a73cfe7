"""What the cache tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """`size_bytes` is what the cache occupies, its index included."""

    root: Path
    limit_bytes: int
    size_bytes: int
    object_count: int
    segment_count: int


@dataclass(frozen=True, slots=True)
class CleanupPlan:
    """Which segments go, least recently used first, and what that frees."""

    segments: tuple[int, ...]
    object_count: int
    freed_bytes: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """`damaged_count` objects did not match their digest and were removed."""

    checked_count: int
    damaged_count: int
