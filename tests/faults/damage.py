"""Damage to files, chosen by a seeded generator: what disks, crashes and administrators do to what is stored.

    vandal = Vandal(lambda: files_below(cache), seed=1, older=copies)
    vandal.strike()            # one more fault, somewhere; says which

Files are damaged in place, so that who has them open meets it, except those that are swapped, replaced or deleted by their names.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096
EXTENDED_BYTES_MAX = 100_000
TRIES = 50


@dataclass(frozen=True)
class Choice:
    """What one fault is made of: the file, others beside it, and an older copy of it, if there is one."""

    path: Path
    others: Sequence[Path]
    older: Path | None
    rng: random.Random

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def write(self, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


def flip(choice: Choice) -> bool:
    """One bit."""
    size = choice.size_bytes
    if not size:
        return False
    offset = choice.rng.randrange(size)
    choice.write(offset, bytes([choice.read(offset, 1)[0] ^ (1 << choice.rng.randrange(8))]))
    return True


def overwrite(choice: Choice) -> bool:
    """Up to a block of something else."""
    size = choice.size_bytes
    length = min(size, choice.rng.randrange(1, BLOCK))
    if not length:
        return False
    choice.write(choice.rng.randrange(size - length + 1), choice.rng.randbytes(length))
    return True


def zero(choice: Choice) -> bool:
    """A whole block that never reached the disk, or a part of one."""
    size = choice.size_bytes
    if not size:
        return False
    offset = choice.rng.randrange(size)
    if choice.rng.random() < 0.5:
        offset -= offset % BLOCK
    length = min(size - offset, BLOCK)
    if not any(choice.read(offset, length)):
        return False
    choice.write(offset, bytes(length))
    return True


def truncate(choice: Choice) -> bool:
    size = choice.size_bytes
    if not size:
        return False
    os.truncate(choice.path, choice.rng.choice((0, size - 1, choice.rng.randrange(size))))
    return True


def extend(choice: Choice) -> bool:
    with choice.path.open("ab") as file:
        file.write(choice.rng.randbytes(choice.rng.randrange(1, EXTENDED_BYTES_MAX)))
    return True


def swap(choice: Choice) -> bool:
    """With another file, by name or by content."""
    others = [other for other in choice.others if other != choice.path]
    if not others:
        return False
    other = choice.rng.choice(others)
    if choice.rng.random() < 0.5:
        aside = choice.path.with_name(f".aside-{choice.rng.randrange(1 << 32):x}")
        choice.path.rename(aside)
        other.rename(choice.path)
        aside.rename(other)
        return True
    mine, its = choice.path.read_bytes(), other.read_bytes()
    for path, data in ((choice.path, its), (other, mine)):
        with path.open("r+b") as file:
            file.write(data)
            file.truncate()
    return mine != its


def restore_older(choice: Choice) -> bool:
    """An older state of the same file comes back."""
    if choice.older is None or not choice.older.is_file():
        return False
    data = choice.older.read_bytes()
    if data == choice.path.read_bytes():
        return False
    with choice.path.open("r+b") as file:
        file.write(data)
        file.truncate()
    return True


def delete(choice: Choice) -> bool:
    choice.path.unlink()
    return True


KINDS: Mapping[str, Callable[[Choice], bool]] = {
    "a bit flipped": flip,
    "a block overwritten": overwrite,
    "a block zeroed": zero,
    "truncated": truncate,
    "extended": extend,
    "swapped with another": swap,
    "replaced by an older copy": restore_older,
    "deleted": delete,
}
IN_PLACE = ("a bit flipped", "a block overwritten", "a block zeroed")
MOSTLY_IN_PLACE = (*KINDS, *IN_PLACE * 4)
"""What leaves most files where they are, so that many faults find something to damage."""


class NothingLeft(Exception):
    """Nothing is there that could be damaged."""


class Vandal:
    """Damages the files that `find` names, one fault at a time.

    Args:
        older: a directory with older copies of files, at the same paths below it as files have below `root`.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[Path]],
        seed: int,
        *,
        kinds: Sequence[str] = tuple(KINDS),
        root: Path | None = None,
        older: Path | None = None,
    ) -> None:
        self._find = find
        self.rng = random.Random(seed)
        self._kinds = kinds
        self._root = root
        self._older = older
        self.done: Counter[str] = Counter()

    def strike(self) -> str:
        """One fault more, in a file chosen by chance, large files more often. Returns what was done to which.

        Raises NothingLeft.
        """
        for _ in range(TRIES):
            files = [(path, size) for path in self._find() if (size := _size(path)) is not None]
            if not files:
                break
            kind = self.rng.choice(self._kinds)
            (path,) = self.rng.choices([path for path, _ in files], [1 + size // BLOCK for _, size in files])
            with suppress(FileNotFoundError):  # of a cache that lives, files go meanwhile
                if KINDS[kind](Choice(path, [one for one, _ in files], self._older_of(path), self.rng)):
                    self.done[kind] += 1
                    return f"{path.name}: {kind}"
        raise NothingLeft

    def _older_of(self, path: Path) -> Path | None:
        return None if self._older is None or self._root is None else self._older / path.relative_to(self._root)


def files_below(*directories: Path, but: Sequence[str] = ()) -> list[Path]:
    """Ordinary files, sorted, without those whose names end in one of `but`."""
    found: list[Path] = []
    for directory in directories:
        for here, _, names in os.walk(directory):
            found += [Path(here, name) for name in names if not name.endswith(tuple(but))]
    return sorted(found)


def restore(damaged: Path, sound: Path, *, only: Sequence[str] = ()) -> None:
    """Make everything below `damaged` (or `only` files of these names) as it is below `sound`.

    In place where files are there, so that who has them open sees it.
    """
    for path in () if only else files_below(damaged):
        if not (sound / path.relative_to(damaged)).exists():
            path.unlink(missing_ok=True)
    for path in [sound / name for name in only] or files_below(sound):
        target = damaged / path.relative_to(sound)
        data = path.read_bytes()
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        elif target.read_bytes() != data:
            with target.open("r+b") as file:
                file.write(data)
                file.truncate()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
