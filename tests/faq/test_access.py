"""Who has access to my artifacts?

Only a server has users: who can open a registry in a directory may do everything, as the directory's permissions say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import artfs
from artfs.api.session import close_sessions
from artfs.errors import AccessDenied, NotFound, ProjectNotFound
from artfs.model.access import Role, Visibility
from tests.faq.worlds import work_in
from tests.integration.serving import Place

pytestmark = [pytest.mark.falsifies("access")]

Become = Callable[[str], None]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("team"))


@pytest.fixture(scope="module")
def tokens(place: Place) -> dict[str, str]:
    return {name: place.user(name) for name in ("member", "reader", "stranger")}


@pytest.fixture(scope="module")
def url(place: Place, tokens: dict[str, str]) -> Iterator[str]:
    for visibility in Visibility:
        place.project(f"{visibility.value}-project", visibility, member=Role.WRITER, reader=Role.READER)
    with place.serving() as server:
        yield server.url


@pytest.fixture
def become(url: str, tokens: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Become]:
    """Be another user from now on."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ARTFS_REGISTRY", url)
    monkeypatch.chdir(work_in(tmp_path))
    yield lambda name: monkeypatch.setenv("ARTFS_TOKEN", tokens[name])
    close_sessions()


def write(project: str, text: str) -> None:
    artifact = artfs.Artifact("bikes", type="dataset")
    with artifact.new_file("a.txt") as file:
        file.write(text)
    with artfs.init(project=project) as run:
        run.log_artifact(artifact)


def read(project: str) -> str:
    return (Path(artfs.Api().artifact(f"{project}/bikes:latest").download()) / "a.txt").read_text()


def change(project: str) -> None:
    artifact = artfs.Api().artifact(f"{project}/bikes:latest")
    artifact.description = "changed"
    artifact.save()


@pytest.mark.parametrize(
    ("visibility", "user", "reads", "writes"),
    [
        ("private", "member", True, True),
        ("private", "reader", True, False),
        ("private", "stranger", False, False),
        ("public", "member", True, True),
        ("public", "reader", True, False),
        ("public", "stranger", True, False),
        ("open", "member", True, True),
        ("open", "reader", True, True),
        ("open", "stranger", True, True),
    ],
)
def test_artifacts_inherit_the_access_of_their_project(
    become: Become, visibility: str, user: str, reads: bool, writes: bool
) -> None:
    project = f"{visibility}-project"
    become("member")
    write(project, f"for {user}")
    become(user)
    if reads:
        assert read(project) == f"for {user}"
    else:
        with pytest.raises(NotFound):
            read(project)
    for attempt in (change, lambda project: write(project, f"by {user}")):
        if writes:
            attempt(project)
        else:
            with pytest.raises((AccessDenied, NotFound)):
                attempt(project)

    become("member")
    assert read(project) == (f"by {user}" if writes else f"for {user}")


def test_a_private_project_is_in_no_list_of_a_stranger(become: Become) -> None:
    become("stranger")
    assert {project.name for project in artfs.Api().projects()} == {"public-project", "open-project"}
    with pytest.raises(ProjectNotFound):
        artfs.Api().artifact_versions("dataset", "private-project/bikes")
