"""What is known of one reference in one project, shared by all who have it open. Owner: the reader, under its lock."""

from __future__ import annotations

import threading
from hashlib import sha256
from typing import TYPE_CHECKING

from artfs.model.reference import Reference

if TYPE_CHECKING:
    from artfs.client.references.whole_file import WholeFile

SUBJECTS_BYTES = 64 << 20  # of those that are remembered while nobody has them open


class Subject:
    """One descriptor in one project.

    Attributes:
        name: what its source is called in `SeenBlocks`.
        blocks_name: what its blocks are called there: those of one state of it.
        validator: the state that is read; None until the first byte came.
        is_whole_only: ranges are not asked for.
        whole: what verifies all of it, once `is_whole_known`; None if nothing does.
    """

    def __init__(self, name: bytes, project: str, reference: Reference) -> None:
        self.name = name
        self.blocks_name = name
        self.project = project
        self.reference = reference
        self.validator: str | None = None
        self.is_whole_only = False
        self.whole: WholeFile | None = None
        self.is_whole_known = False
        self.streaming = threading.Lock()

    def settle(self, validator: str) -> None:
        """From now on, this state is read."""
        self.validator = validator
        self.blocks_name = sha256(self.name + validator.encode()).digest()[:16]
        self.is_whole_only = self.is_whole_only or not validator


def size_of(subject: Subject) -> int:
    """About, with what `WholeFile` may know of its blocks; at most SUBJECTS_BYTES."""
    reference = subject.reference
    return min(1000 + (len(reference.blocks) or reference.block_count), SUBJECTS_BYTES)
