"""Queries are answered by name, without a schema."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from artfs.errors import InvalidValue
from artfs.wandb_server.graphql import execute, parse_operation

ROOT: dict[str, Any] = {
    "__typename": "Query",
    "plain": 1,
    "asked": lambda args: dict(args),
    "one": {
        "__typename": "ArtifactSequence",
        "name": "a",
        "items": [{"n": 1, "m": 2}, {"n": 3, "m": 4}],
        "json": {"k": [1]},
    },
    "never": lambda args: pytest.fail("not asked for"),
}


def answer(query: str, variables: dict[str, Any] | None = None, name: str = "") -> dict[str, Any]:
    return execute(parse_operation(query, variables or {}, name), ROOT)


def test_fields_are_answered_by_name_and_alias() -> None:
    assert answer("{ plain p: plain one { name items { n } } }") == {
        "plain": 1,
        "p": 1,
        "one": {"name": "a", "items": [{"n": 1}, {"n": 3}]},
    }


def test_json_without_a_selection_is_given_as_it_is() -> None:
    assert answer("{ one { json } }") == {"one": {"json": {"k": [1]}}}


def test_arguments_come_from_literals_variables_and_defaults() -> None:
    query = (
        'query Q($v: String, $d: Int = 7) { asked(a: [1, 2.5, "x", E, true, null], o: {k: $v}, d: $d, missing: $none) }'
    )
    assert answer(query, {"v": "given"}) == {
        "asked": {"a": [1, 2.5, "x", "E", True, None], "o": {"k": "given"}, "d": 7, "missing": None}
    }


def test_fragments_are_merged_and_taken_by_their_type() -> None:
    query = """
    query { one { ...F items { m } ... on ArtifactPortfolio { other } ... on ArtifactSequence { name } } }
    fragment F on ArtifactCollection { items { n } }
    """
    assert answer(query) == {"one": {"items": [{"n": 1, "m": 2}, {"n": 3, "m": 4}], "name": "a"}}


@pytest.mark.parametrize(("directive", "there"), [("@include(if: $yes)", True), ("@skip(if: $yes)", False)])
def test_directives_are_obeyed(directive: str, there: bool) -> None:
    found = answer("query Q($yes: Boolean!) { plain " + directive + " p: plain }", {"yes": True})
    assert found == ({"plain": 1} if there else {}) | {"p": 1}


def test_an_unknown_field_is_null_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert answer("{ notKnownAnywhere { of { it } } plain }") == {"notKnownAnywhere": None, "plain": 1}
    assert [record.getMessage().count("notKnownAnywhere") for record in caplog.records] == [1]


def test_the_named_operation_is_taken() -> None:
    assert answer("query A { plain } query B { b: plain }", name="B") == {"b": 1}


@pytest.mark.falsifies("hostile")
@pytest.mark.parametrize(
    "query",
    [
        "",
        "nonsense",
        "{",
        "query A { plain } query B { plain }",
        "subscription { plain }",
        "{ ...F } fragment F on Query { ...F }",
        "{ ...Absent }",
        "{" + "a{" * 3000 + "b" + "}" * 3000 + "}",
        "{" + "plain " * 30_000 + "}",
        "{ asked(a: " + "[" * 5000 + "]" * 5000 + ") }",
    ],
    ids=lambda query: query[:30],
)
def test_what_is_no_query_is_refused(query: str) -> None:
    with pytest.raises(InvalidValue):
        answer(query)


@pytest.mark.falsifies("hostile")
def test_an_answer_is_bounded() -> None:
    root: dict[str, Any] = {"n": 1}
    root["many"] = [root] * 10
    levels = "{ n " + "many { n " * 4 + "}" * 4 + "}"
    with pytest.raises(InvalidValue, match="fields"):
        execute(parse_operation(levels, {}), root, fields_max=10_000)
