"""Which file is the main program, and what its artifacts are called."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType

import pytest

from artfs.api.code import MainProgram, artifact_name, main_program, source_name
from artfs.model.names import check_name


def module(**names: object) -> ModuleType:
    made = ModuleType("__main__")
    vars(made).update(names)
    return made


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.touch()
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "explore.ipynb"
    path.touch()
    return path


def test_the_main_script_is_found(script: Path) -> None:
    assert main_program(module(__file__=str(script)), {}) == MainProgram(script)


def test_a_script_started_from_a_notebook_is_the_program(script: Path, notebook: Path) -> None:
    environment = {"JPY_SESSION_NAME": str(notebook)}
    assert main_program(module(__file__=str(script)), environment) == MainProgram(script)


def test_the_notebook_of_jupyter_is_found(notebook: Path) -> None:
    found = main_program(module(), {"JPY_SESSION_NAME": str(notebook)})
    assert found == MainProgram(notebook)
    assert found.is_notebook


def test_the_notebook_of_vscode_is_found(notebook: Path) -> None:
    assert main_program(module(__vsc_ipynb_file__=str(notebook)), {}) == MainProgram(notebook)


def test_the_launcher_of_a_kernel_is_not_the_program(notebook: Path) -> None:
    main = module(__file__="/usr/lib/python3/ipykernel_launcher.py")
    assert main_program(main, {"JPY_SESSION_NAME": str(notebook)}) == MainProgram(notebook)


def test_a_path_from_the_root_of_the_server_is_found_in_the_directory_of_the_kernel(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(notebook.parent)
    assert main_program(module(), {"JPY_SESSION_NAME": "work/explore.ipynb"}) == MainProgram(notebook)


def test_what_the_user_says_goes_first(notebook: Path, script: Path) -> None:
    environment = {"ARTFS_NOTEBOOK_NAME": str(notebook), "JPY_SESSION_NAME": str(script)}
    assert main_program(module(__vsc_ipynb_file__=str(script)), environment) == MainProgram(notebook)


@pytest.mark.parametrize(
    ("main", "environment", "told"),
    [
        (module(), {}, "ARTFS_NOTEBOOK_NAME"),
        (module(__file__="/nowhere/train.py"), {}, "/nowhere/train.py"),
        (module(), {"JPY_SESSION_NAME": "/nowhere/explore.ipynb"}, "/nowhere/explore.ipynb"),
    ],
)
def test_no_program_is_told_in_the_log(
    main: ModuleType, environment: dict[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert main_program(main, environment) is None
    assert told in caplog.text


@pytest.mark.parametrize(
    ("path", "name", "source"),
    [
        ("/work/train.py", "train", "source-vision-train.py"),
        ("/work/explore.ipynb", "explore", "source-vision-explore.ipynb"),
        ("/work/my model (2).py", "my_model_2_", "source-vision-my_model_2_.py"),
        ("/work/trainer/__main__.py", "trainer", "source-vision-trainer.py"),
        ("/usr/bin/train", "train", "source-vision-train"),
        ("/work/.hidden.py", "_hidden", "source-vision-.hidden.py"),
        ("/work/-x.py", "_x", "source-vision--x.py"),
        ("/work/é.py", "_", "source-vision-_.py"),
    ],
)
def test_artifacts_are_named_after_the_program(path: str, name: str, source: str) -> None:
    program = MainProgram(Path(path))
    assert artifact_name(program) == check_name("artifact", name)
    assert source_name("vision", program) == check_name("artifact", source)


def test_the_middle_of_a_long_name_is_left_out() -> None:
    name = source_name("p" * 100, MainProgram(Path("/work") / ("x" * 100 + "-last.py")))
    assert check_name("artifact", name).startswith("source-ppp")
    assert name.endswith("-last.py")
    assert len(name) == 127
