"""Text that means something to a database, a shell, a log or a header is only text: stored as it is, or refused as a name."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artfs.errors import ArtfsError, InvalidName, InvalidValue
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.records import VersionChange
from tests.contract.uploading import commit, content_of
from tests.registries import OWN_REGISTRIES, own_registry
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("hostile", "access")]

TEXTS = [
    "'", '"', "''", "';--", "x'; DROP TABLE versions;--", "' OR '1'='1", "' UNION SELECT name FROM users--", "\\", "\\'",
    "%", "_", "%%", "?", "?1", ":a", "$1", "%s", "%(x)s", "{0}", "{}", "${HOME}", "$(id)", "`id`", ";id", "|id", "&&id",
    "--", "/* */", "a\nb", "a\r\nX: y", "\u2028", "\ufeff", "😀" * 30, "NULL", "\x1b[2J", "0x27", "E'\\047'", "CHR(39)",
]  # fmt: skip
PACKAGE = Path(__file__).parents[2] / "artfs"
VERBS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "CREATE ", "DROP ", "PRAGMA ", "ALTER ")


@pytest.fixture(params=OWN_REGISTRIES)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlRegistry]:
    with own_registry(request.param, tmp_path / "registry") as opened:
        opened.projects.create("vision")
        commit(opened, "vision", "bikes", {"f": b"f"}, "best")
        yield opened


def _state(registry: SqlRegistry) -> tuple[object, ...]:
    projects = [record.name for record in registry.projects.list()]
    artifacts = [record.name for record in registry.artifacts.list("vision")]
    users = [record.name for record in registry.access.users.list()]
    return projects, artifacts, users, registry.aliases.list("vision", "bikes")


@pytest.mark.parametrize("text", [text for text in TEXTS if not text.isidentifier() and text != "0x27"])
def test_text_in_the_place_of_a_name_names_nothing(registry: SqlRegistry, text: str) -> None:
    before = _state(registry)
    calls: list[Callable[[], object]] = [
        lambda: registry.projects.get(text),
        lambda: registry.projects.create(text),
        lambda: registry.projects.delete(text),
        lambda: registry.artifacts.get("vision", text),
        lambda: registry.artifacts.create("vision", text),
        lambda: registry.versions.resolve("vision", "bikes", text),
        lambda: registry.versions.resolve("vision", text, "v0"),
        lambda: registry.versions.resolve(text, "bikes", "v0"),
        lambda: registry.aliases.move("vision", "bikes", text, 0),
        lambda: registry.drafts.renew(text),
        lambda: registry.access.users.create(text),
        lambda: registry.access.tokens.revoke(text),
        lambda: registry.access.tokens.authenticate(text),
        lambda: registry.runs.get("vision", text),
    ]
    for call in calls:
        with pytest.raises(ArtfsError):
            call()
        tried("texts in the place of a name")
    assert _state(registry) == before


def test_text_that_is_data_comes_back_as_it_went_in(registry: SqlRegistry) -> None:
    before = _state(registry)
    for text in TEXTS:
        change = VersionChange(description=text, metadata={text: [text, {text: text}]})
        registry.versions.update("vision", "bikes", 0, change)
        found = registry.versions.resolve("vision", "bikes", "v0")
        assert (found.description, found.metadata) == (text, {text: [text, {text: text}]})
        tried("texts as data")
    assert _state(registry) == before


def test_names_of_files_are_data(registry: SqlRegistry) -> None:
    content = content_of({text.replace("/", "-"): text.encode() for text in TEXTS})
    version = commit(registry, "vision", "names", content).version
    assert (version.root, version.file_count) == (content.root, len({text.replace("/", "-") for text in TEXTS}))


@pytest.mark.parametrize("after", TEXTS)
def test_text_in_the_place_of_a_position_lists_no_more(registry: SqlRegistry, after: str) -> None:
    try:
        listed = [record.name for record in registry.projects.list(after=after)]
    except (InvalidName, InvalidValue):
        listed = []
    assert listed in ([], ["vision"])
    tried("texts in the place of a position")


def test_no_statement_is_put_together_from_values() -> None:
    """Where a statement is an f-string, what goes into it are names of this code's own: constants, and marks for parameters."""
    found = {
        (str(file.relative_to(PACKAGE)), part)
        for file in sorted(PACKAGE.rglob("*.py"))
        if any(verb in (text := file.read_text(encoding="utf-8")) for verb in VERBS)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.JoinedStr) and _is_statement(node)
        for part in (ast.unparse(value.value) for value in node.values if isinstance(value, ast.FormattedValue))
    }
    assert found == OWN_PARTS


def _is_statement(node: ast.JoinedStr) -> bool:
    text = "".join(str(value.value) for value in node.values if isinstance(value, ast.Constant)).lstrip()
    return text.startswith(VERBS)


OWN_PARTS = {
    ("client/remembered/answer_file.py", "age"),
    ("client/remembered/answer_file.py", "content"),
    ("client/remembered/answer_file.py", "table"),
    ("registry/catalog.py", "ended"),
    ("registry/catalog.py", "table"),
    ("registry/collection.py", "_IS_DUE"),
    ("registry/lineage.py", "_BELOW"),
    ("registry/lineage_graph.py", "RUN_COLUMNS"),
    ("registry/lineage_graph.py", "RUN_TABLES"),
    ("registry/lineage_graph.py", "step.source"),
    ("registry/lineage_graph.py", "step.target"),
    ("registry/liveness.py", "_OF_DOOMED"),
    ("registry/liveness.py", "_UNATTACHED"),
    ("registry/liveness.py", "name"),
    ("registry/maintenance.py", "due"),
    ("registry/pack_cleaning.py", "_EMPTY"),
    ("registry/postgres.py", "MAINTENANCE_LOCK"),
    ("registry/postgres.py", "WRITE_LOCK"),
    ("registry/postgres.py", "columns"),
    ("registry/postgres.py", "relaxed"),
    ("registry/postgres.py", "rest"),
    ("registry/postgres.py", "self._begin_write"),
    ("registry/postgres.py", "table"),
    ("registry/rebuilding.py", "table"),
    ("registry/runs.py", "RUN_COLUMNS"),
    ("registry/runs.py", "RUN_TABLES"),
    ("registry/runs.py", "condition"),
    ("vfs/staging/draft.py", "', '.join('?' * len(columns))"),
    ("vfs/staging/namespace.py", "', '.join('?' * _COLUMNS)"),
    ("wandb_server/uploads.py", "table"),
    ("vfs/staging/links.py", "_COLUMNS"),
}
"""Each was looked at: none is made of what a caller says."""
