"""The access table, written out: every standing and scope for every operation."""

from __future__ import annotations

import itertools

import pytest

from artfs.model.access import (
    Operation,
    Role,
    Scope,
    Standing,
    Verdict,
    Visibility,
    decide_in_project,
    decide_of_server,
    highest,
    included,
    includes,
    scope_needed,
    standing,
)

pytestmark = [pytest.mark.falsifies("access")]

# What a token of scope read, write, admin gives: + allowed, - denied, . hidden.
IN_PROJECT = {
    #                      stranger reader contributor writer admin
    Operation.READ: "       ...     +++    +++         +++    +++",
    Operation.WRITE: "      ...     ---    -++         -++    -++",
    Operation.DELETE: "     ...     ---    ---         -++    -++",
    Operation.SEE_MEMBERS: "...     +++    +++         +++    +++",
    Operation.ADMINISTER: " ...     ---    ---         ---    --+",
}
OF_SERVER = {
    #                             user server-admin
    Operation.CREATE_PROJECT: "    -++ -++",
    Operation.SEE_OWN_TOKENS: "    +++ +++",
    Operation.CHANGE_OWN_TOKENS: " -++ -++",
    Operation.ADMINISTER_SERVER: " --- --+",
}
SIGNS = {Verdict.ALLOWED: "+", Verdict.DENIED: "-", Verdict.HIDDEN: "."}


@pytest.mark.parametrize("operation", IN_PROJECT, ids=lambda operation: operation.value)
def test_what_a_standing_gives_in_a_project(operation: Operation) -> None:
    found = ["".join(SIGNS[decide_in_project(operation, one, [scope])] for scope in Scope) for one in Standing]
    assert found == IN_PROJECT[operation].split()


@pytest.mark.parametrize("operation", OF_SERVER, ids=lambda operation: operation.value)
def test_what_users_and_administrators_may_on_the_server(operation: Operation) -> None:
    found = [
        "".join(SIGNS[decide_of_server(operation, [scope], administers_server=admin)] for scope in Scope)
        for admin in (False, True)
    ]
    assert found == OF_SERVER[operation].split()


def test_every_operation_is_in_exactly_one_table() -> None:
    assert set(IN_PROJECT) | set(OF_SERVER) == set(Operation)
    assert not set(IN_PROJECT) & set(OF_SERVER)
    assert {scope_needed(operation) for operation in Operation} == set(Scope)


def test_standing_follows_from_visibility_and_role() -> None:
    stranger, reader, contributor, writer, admin = Standing
    assert {(visibility, role): standing(visibility, role) for visibility in Visibility for role in (None, *Role)} == {
        (Visibility.PRIVATE, None): stranger,
        (Visibility.PRIVATE, Role.READER): reader,
        (Visibility.PRIVATE, Role.WRITER): writer,
        (Visibility.PRIVATE, Role.ADMIN): admin,
        (Visibility.PUBLIC, None): reader,
        (Visibility.PUBLIC, Role.READER): reader,
        (Visibility.PUBLIC, Role.WRITER): writer,
        (Visibility.PUBLIC, Role.ADMIN): admin,
        (Visibility.OPEN, None): contributor,
        (Visibility.OPEN, Role.READER): contributor,
        (Visibility.OPEN, Role.WRITER): writer,
        (Visibility.OPEN, Role.ADMIN): admin,
    }
    for visibility in Visibility:
        assert standing(visibility, None, administers_server=True) is admin


def test_no_role_gives_less_than_none_and_no_scope_less_than_one_below() -> None:
    for visibility, role in itertools.product(Visibility, Role):
        assert standing(visibility, role) >= standing(visibility, None)
    for lower, higher in itertools.combinations(Scope, 2):
        assert includes([higher], lower)
        assert not includes([lower], higher)
    for scope in Scope:
        assert highest(included(scope)) is scope
        assert not includes([], scope)
