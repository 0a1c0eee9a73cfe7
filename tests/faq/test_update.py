"""How do I programmatically update artifacts?"""

from __future__ import annotations

import pytest

import artfs
from artfs.errors import AliasNotFound
from tests.faq.worlds import World

NAME = "car-vision-project/bike-dataset"


@pytest.fixture
def bikes(world: World) -> None:
    artifact = artfs.Artifact(
        "bike-dataset", type="dataset", description="old", metadata={"oldKey": "old value", "other": [1, 2]}
    )
    artifact.add_file(world.write({"a.txt": b"bike"}) / "a.txt")
    with artfs.init(project="car-vision-project") as run:
        run.log_artifact(artifact)


@pytest.mark.usefixtures("bikes")
def test_the_sample_updates_everything(world: World) -> None:
    world.sample("update.py")
    artifact = artfs.Api().artifact(f"{NAME}:v0")
    assert artifact.description == "My new description"
    assert artifact.metadata == {"newKey": "new value"}
    assert artifact.aliases == ["replaced"]
    with pytest.raises(AliasNotFound):
        artfs.Api().artifact(f"{NAME}:latest")


def saved(change: str) -> str:
    return f"import artfs\nartifact = artfs.Api().artifact('{NAME}:v0')\n{change}\nartifact.save()\n"


@pytest.mark.usefixtures("bikes")
def test_each_update_leaves_the_rest_as_it_was(world: World) -> None:
    api = artfs.Api()
    world.script(saved("artifact.metadata['oldKey'] = 'new value'"))
    assert api.artifact(f"{NAME}:v0").metadata == {"oldKey": "new value", "other": [1, 2]}
    world.script(saved("artifact.aliases.append('best')"))
    assert sorted(api.artifact(f"{NAME}:best").aliases) == ["best", "latest"]
    world.script(saved("artifact.aliases.remove('latest')"))
    assert api.artifact(f"{NAME}:v0").aliases == ["best"]
    world.script(saved("artifact.description = 'new'"))
    artifact = api.artifact(f"{NAME}:best")
    assert (artifact.description, artifact.metadata["other"], artifact.aliases) == ("new", [1, 2], ["best"])


@pytest.mark.usefixtures("bikes")
def test_nothing_is_updated_before_it_is_saved(world: World) -> None:
    artifact = artfs.Api().artifact(f"{NAME}:v0")
    artifact.description = "unsaved"
    artifact.aliases.append("unsaved")
    artifact.metadata["unsaved"] = True
    now = artfs.Api().artifact(f"{NAME}:v0")
    assert (now.description, now.aliases, "unsaved" in now.metadata) == ("old", ["latest"], False)
