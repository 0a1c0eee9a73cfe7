"""What `wandb` clients are told of symbolic links, which they do not know: the file that each leads to."""

from __future__ import annotations

from pathlib import Path

from artfs.client.client import Client
from artfs.client.put import put
from artfs.wandb_server.contents import Contents
from artfs.wandb_server.state import State
from artfs.wire.records import NO_ROOT, SealRequest


def test_a_link_is_the_file_it_leads_to_by_way_of_others(client: Client, tmp_path: Path) -> None:
    root = tmp_path / "source"
    (root / "deep/er").mkdir(parents=True)
    (root / "deep/file").write_text("deep")
    (root / "file").write_text("top")
    (root / "way").symlink_to("deep/er")
    (root / "up").symlink_to("way/../file")
    (root / "through").symlink_to("way/../../up")
    (root / "gone").symlink_to("way/nothing")
    (root / "round").symlink_to("round")
    (root / "directory").symlink_to("deep")
    version = put(client, "vision", root, SealRequest("bikes", NO_ROOT)).version
    project = client.registry.projects.get("vision")
    found = {
        file.path: file.digest for file in Contents(State(tmp_path / "state.db"), client).files(project, version.digest)
    }
    assert set(found) == {"deep/file", "file", "up", "through"}
    assert found["up"] == found["through"] == found["deep/file"] != found["file"]
