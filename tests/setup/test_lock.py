"""requirements/dev.lock pins everything that development needs, by version and hash, wherever it comes from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements/dev.lock"
PYTHONS = ("3.11", "3.12", "3.13")


def _locked() -> list[tuple[Requirement, int]]:
    """Each requirement of the lock file, and how many hashes it has."""
    lines = LOCK.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [
        (Requirement(line.partition(" --hash")[0].strip()), line.count("--hash=sha256:"))
        for line in lines
        if line.strip() and not line.startswith("#")
    ]


def test_every_package_is_pinned_to_one_version_and_its_hashes() -> None:
    for requirement, hashes in _locked():
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert hashes, requirement


@pytest.mark.parametrize("python", PYTHONS)
def test_every_direct_dependency_is_there_in_a_version_that_will_do(python: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    pinned = {
        canonicalize_name(requirement.name): next(iter(requirement.specifier)).version
        for requirement, _ in _locked()
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }
    for text in [*project["dependencies"], *extras["server"], *extras["dev"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), wanted


def test_no_place_is_named_where_packages_come_from() -> None:
    for file in sorted(LOCK.parent.iterdir()):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?://|file:|index-url|find-links", text), file
