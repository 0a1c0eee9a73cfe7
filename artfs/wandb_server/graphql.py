"""GraphQL without a schema: graphql-core parses, and fields are answered by name from plain dictionaries.

A node is a dictionary from field names to values, or to functions of the field's arguments, called when the field is asked
for. A field that a node does not have is null, and said once in the log: a newer client that asks for more must still work. Knows
nothing of what is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    parse,
)
from graphql.language.ast import (
    BooleanValueNode,
    DirectiveNode,
    EnumValueNode,
    FloatValueNode,
    IntValueNode,
    StringValueNode,
)

from artfs.errors import InvalidValue

TOKENS_MAX = 20_000  # the longest query of a client has some 500
FIELDS_MAX = 2_000_000  # of one answer
DEPTH_MAX = 40

Args = Mapping[str, Any]
Node = Mapping[str, Any]
Field = Callable[[Args], Any]

_log = logging.getLogger(__name__)
_unknown: set[tuple[str, str]] = set()
UNKNOWN_MAX = 1000  # said in the log

# Types that have several kinds of object, so that a fragment on one of them is about any.
ABSTRACT = {"ArtifactCollection", "Node"}


class Operation(NamedTuple):
    """A parsed request."""

    definition: OperationDefinitionNode
    fragments: dict[str, FragmentDefinitionNode]
    variables: dict[str, Any]

    @property
    def is_mutation(self) -> bool:
        return self.definition.operation is OperationType.MUTATION

    @property
    def fields(self) -> list[str]:
        """The names of its fields at the top, for the log."""
        return [one.name.value for one in self.definition.selection_set.selections if isinstance(one, FieldNode)]


def parse_operation(query: str, variables: Mapping[str, Any], name: str = "") -> Operation:
    """The operation of that name, or the only one. Raises InvalidValue."""
    try:
        document = parse(query, no_location=True, max_tokens=TOKENS_MAX)
    except (GraphQLError, RecursionError) as error:
        raise InvalidValue(f"this is not GraphQL: {getattr(error, 'message', 'too deep')}") from None
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    named = [one for one in operations if one.name is not None and one.name.value == name] or operations
    if len(named) != 1 or named[0].operation is OperationType.SUBSCRIPTION:
        raise InvalidValue("a request has one query or mutation")
    given = dict(variables)
    for definition in named[0].variable_definitions or ():
        if definition.default_value is not None:
            given.setdefault(definition.variable.name.value, _literal(definition.default_value, {}))
    return Operation(named[0], fragments, given)


def execute(operation: Operation, root: Node, fields_max: int = FIELDS_MAX) -> dict[str, Any]:
    """The answer's data. Raises InvalidValue for an answer without bound, and what the fields raise."""
    return _Execution(operation, fields_max).run(root)


class _Execution:
    def __init__(self, operation: Operation, fields_max: int) -> None:
        self._operation = operation
        self._left = self._most = fields_max

    def run(self, root: Node) -> dict[str, Any]:
        return self._node(root, [self._operation.definition.selection_set], 0)

    def _node(self, node: Node, selections: list[SelectionSetNode], depth: int) -> dict[str, Any]:
        if depth > DEPTH_MAX:
            raise InvalidValue(f"a query of more than {DEPTH_MAX} levels")
        collected: dict[str, list[FieldNode]] = {}
        for selection in selections:
            self._collect(node, selection, collected, frozenset())
        return {key: self._field(node, fields, depth) for key, fields in collected.items()}

    def _collect(
        self, node: Node, selection: SelectionSetNode, into: dict[str, list[FieldNode]], inside: frozenset[str]
    ) -> None:
        for one in selection.selections:
            if not self._is_included(one.directives):
                continue
            if isinstance(one, FieldNode):
                into.setdefault(one.alias.value if one.alias else one.name.value, []).append(one)
            elif isinstance(one, InlineFragmentNode):
                if one.type_condition is None or _is_of(node, one.type_condition.name.value):
                    self._collect(node, one.selection_set, into, inside)
            elif isinstance(one, FragmentSpreadNode):
                name = one.name.value
                fragment = self._operation.fragments.get(name)
                if fragment is None or name in inside:
                    raise InvalidValue(f"there is no fragment {name!r}, or it contains itself")
                if _is_of(node, fragment.type_condition.name.value):
                    self._collect(node, fragment.selection_set, into, inside | {name})

    def _field(self, node: Node, fields: list[FieldNode], depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise InvalidValue(f"an answer of more than {self._most} fields", hint="ask for fewer at once")
        first = fields[0]
        name = first.name.value
        if name not in node:
            _note_unknown(str(node.get("__typename", "")), name)
            return None
        value = node[name]
        if callable(value):
            value = value(
                {one.name.value: _literal(one.value, self._operation.variables) for one in first.arguments or ()}
            )
        below = [field.selection_set for field in fields if field.selection_set is not None]
        return self._value(value, below, depth)

    def _value(self, value: Any, below: list[SelectionSetNode], depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._node(value, below, depth + 1) if below else value
        if isinstance(value, list | tuple | Iterator):
            return [self._value(one, below, depth) for one in value]
        return value

    def _is_included(self, directives: tuple[DirectiveNode, ...] | None) -> bool:
        for directive in directives or ():
            given = {
                one.name.value: _literal(one.value, self._operation.variables) for one in directive.arguments or ()
            }
            if directive.name.value == "include" and not given.get("if"):
                return False
            if directive.name.value == "skip" and given.get("if"):
                return False
        return True


def _is_of(node: Node, type_: str) -> bool:
    name = node.get("__typename")
    return name is None or name == type_ or type_ in ABSTRACT


def _note_unknown(type_: str, name: str) -> None:
    if (type_, name) not in _unknown and len(_unknown) < UNKNOWN_MAX:
        _unknown.add((type_, name))
        _log.warning("a client asks for the field %s.%s, which is not known here: null", type_ or "?", name)


def _literal(node: ValueNode, variables: Mapping[str, Any]) -> Any:
    match node:
        case VariableNode():
            return variables.get(node.name.value)
        case IntValueNode():
            return int(node.value)
        case FloatValueNode():
            return float(node.value)
        case StringValueNode() | EnumValueNode() | BooleanValueNode():
            return node.value
        case ListValueNode():
            return [_literal(one, variables) for one in node.values]
        case ObjectValueNode():
            return {one.name.value: _literal(one.value, variables) for one in node.fields}
        case NullValueNode():
            return None
    raise InvalidValue("a value that is no value")
