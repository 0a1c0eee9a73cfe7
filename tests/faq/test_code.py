"""How do I save code?"""

from __future__ import annotations

import json

import pytest

import artfs
from artfs.errors import ArtifactNotFound
from tests.faq.worlds import World, files_in, maker


def test_the_sample_versions_the_script_under_its_name(world: World) -> None:
    world.sample("train.py")
    artifact = artfs.Api().artifact("train:latest")
    assert artifact.type == "code"
    script = (world.directory / "train.py").read_bytes()
    assert files_in(artifact.download(str(world.directory / "copy"))) == {"train.py": script}


SAVING = """
import pytest

import artfs
with artfs.init(project="vision", id="training", save_code=True) as run:
    run.log({"loss": 1})
"""


def test_save_code_keeps_the_main_script(world: World) -> None:
    world.script(SAVING, name="fit.py")
    artifact = artfs.Api().artifact("vision/source-vision-fit.py:latest")
    assert artifact.type == "code"
    assert maker(artifact).id == "training"
    assert files_in(artifact.download(str(world.directory / "copy"))) == {"fit.py": SAVING.encode()}


def test_save_code_keeps_the_notebook(world: World) -> None:
    """A kernel, and what it is told of its notebook, as far as a script sees them."""
    notebook = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()
    world.write({"explore.ipynb": notebook})
    kernel = f"import sys, types\nsys.modules['__main__'] = types.ModuleType('__main__')\n{SAVING}"
    world.script(kernel, JPY_SESSION_NAME=str(world.directory / "explore.ipynb"))
    artifact = artfs.Api().artifact("vision/source-vision-explore.ipynb:latest")
    assert files_in(artifact.download(str(world.directory / "copy"))) == {"explore.ipynb": notebook}


def test_code_is_not_kept_unasked(world: World) -> None:
    world.script(SAVING.replace(", save_code=True", ""), name="fit.py")
    with pytest.raises(ArtifactNotFound):
        artfs.Api().artifact("vision/source-vision-fit.py:latest")
