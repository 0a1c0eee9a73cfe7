"""How do I clean up unused artifact versions?"""

from __future__ import annotations

import random

import artfs
from tests.faq.worlds import World

WEIGHTS_BYTES = 50_000


def test_the_sample_deletes_all_versions_without_an_alias(world: World) -> None:
    with artfs.init(project="capsule-gpt") as run:
        for step in range(6):
            checkpoint = artfs.Artifact("checkpoints", type="model")
            with checkpoint.new_file("weights", mode="wb") as file:
                file.write(random.Random(step).randbytes(WEIGHTS_BYTES))
            run.log_artifact(checkpoint, aliases=["best"] if step == 2 else [])
    before_bytes = world.stored_bytes()
    world.sample("clean_up.py")

    api = artfs.Api(overrides={"project": "capsule-gpt"})
    left = {version.name: version.aliases for version in api.artifact_versions("model", "checkpoints")}
    assert left == {"checkpoints:v2": ["best"], "checkpoints:v5": ["latest"]}
    for step in range(6):
        assert world.holds(random.Random(step).randbytes(WEIGHTS_BYTES)) is (step in (2, 5))
    assert before_bytes - world.stored_bytes() >= 4 * WEIGHTS_BYTES
