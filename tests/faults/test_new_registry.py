"""A registry that many processes make at once, as the writers of a distributed artifact do on their first day."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from artfs.errors import StorageFailed
from artfs.registry.layout import open_layout
from artfs.store.durable import write_file

pytestmark = [pytest.mark.falsifies("whole")]

PROCESSES = 6
ROUNDS = 4
END_S = 60
OPEN = "import sys; from pathlib import Path; from artfs.registry.layout import open_layout; open_layout(Path(sys.argv[1]))"


def test_processes_that_make_one_registry_do_not_stand_in_each_others_way(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        root = tmp_path / str(number)
        makers = [
            subprocess.Popen([sys.executable, "-c", OPEN, str(root)], stderr=subprocess.PIPE) for _ in range(PROCESSES)
        ]
        said = [maker.communicate(timeout=END_S)[1].decode() for maker in makers]
        assert [maker.returncode for maker in makers] == [0] * PROCESSES, said


def test_what_a_process_that_died_while_making_it_left_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the marker's draft has its name."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", die)
        patch.setattr("pathlib.Path.unlink", die)
        with pytest.raises(KeyboardInterrupt):
            write_file(tmp_path / ".artfs-registry.0123", b"x")
    assert list(tmp_path.iterdir())
    layout, _ = open_layout(tmp_path)
    assert layout.marker.exists()


def test_a_directory_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(StorageFailed, match="thesis"):
        open_layout(tmp_path)
