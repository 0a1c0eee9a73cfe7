"""docs/reference says of the Python API what its code says, and the code says what a user needs."""

from __future__ import annotations

import ast
import logging
import re
import textwrap
from pathlib import Path

import griffe
import pytest

import artfs
from artfs import errors
from tests.docs.reference import ROOT, Reference, load, write

PAGES = ROOT / "docs/reference"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return load()


def test_the_pages_are_what_the_docstrings_say(reference: Reference) -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in PAGES.iterdir()}
    assert kept == reference.files(), "run scripts/reference"


def test_docstrings_are_read_without_a_complaint(caplog: pytest.LogCaptureFixture) -> None:
    """Such as of an argument that is explained but not there."""
    with caplog.at_level(logging.WARNING):
        load().files()
    assert caplog.messages == []


def test_every_public_name_has_a_page(reference: Reference) -> None:
    assert set(artfs.__all__) - {"__version__"} <= set(reference.pages)


def test_names_have_files_of_their_own_where_case_means_nothing(reference: Reference) -> None:
    names = [name.lower() for name in reference.files()]
    assert len(set(names)) == len(names)


def test_every_link_leads_to_a_page(reference: Reference) -> None:
    files = reference.files()
    links = [(name, link) for name, text in files.items() for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert len(links) > len(reference.pages)
    assert [link for link in links if link[1] not in files] == []


def test_old_pages_are_removed(tmp_path: Path) -> None:
    (tmp_path / "Gone.md").touch()
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in PAGES.iterdir()}


def test_every_public_name_says_what_it_means(reference: Reference) -> None:
    silent = [where for where, subject in public(reference) if not subject.docstring]
    assert silent == []


def test_every_argument_is_explained(reference: Reference) -> None:
    missing = []
    for where, subject in public(reference):
        is_given = subject.is_class and not reference.pages[where].is_made_by_scripts
        told = words(subject)
        missing += [f"{where}: {name}" for name in arguments(subject) if name not in told and not is_given]
    assert missing == []


def test_every_error_that_is_raised_is_told(reference: Reference) -> None:
    missing = []
    for where, subject in public(reference):
        told = words(subject)
        missing += [f"{where}: {name}" for name in raised(subject) if name not in told]
    assert missing == []


def test_errors_that_are_told_exist(reference: Reference) -> None:
    wrong = []
    for where, subject in public(reference):
        for sentence in re.findall(r"Raises:? ([^.]*)", subject.docstring.value if subject.docstring else ""):
            names = re.findall(r"\b[A-Z][a-z]+[A-Z][A-Za-z]+\b", sentence)
            wrong += [f"{where}: {name}" for name in names if not hasattr(errors, name)]
    assert wrong == []


def public(reference: Reference) -> list[tuple[str, griffe.Object]]:
    """Everything that a page describes, with what it is called."""
    found: list[tuple[str, griffe.Object]] = []
    for page in reference.pages.values():
        found.append((page.name, page.subject))
        found += [(f"{page.name}.{member.name}", member) for member in page.members]
    return found


def words(subject: griffe.Object) -> set[str]:
    return set(re.findall(r"\w+", subject.docstring.value if subject.docstring else ""))


def arguments(subject: griffe.Object) -> list[str]:
    function = subject.members.get("__init__") if subject.is_class else subject
    if not isinstance(function, griffe.Function):
        return []
    return [one.name for one in function.parameters if one.name not in ("self", "cls")]


def raised(subject: griffe.Object) -> set[str]:
    """Errors of artfs that a function's own lines raise."""
    if not isinstance(subject, griffe.Function):
        return set()
    names = {
        node.exc.func.id
        for node in ast.walk(ast.parse(textwrap.dedent("\n".join(subject.lines))))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    return {name for name in names if hasattr(errors, name)}
