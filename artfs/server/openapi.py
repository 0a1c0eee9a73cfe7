"""The OpenAPI document of the interface, made from the table of operations and the types of their bodies.

docs/openapi.json is what this returns, written down: `python -m artfs.server.openapi FILE` writes it, and a test compares them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_origin

import msgspec

from artfs.model.digest import Digest
from artfs.server.app import OPERATIONS
from artfs.server.errors import STATUSES
from artfs.server.routes import NUMBER_MAX, SEGMENTS, TEXT_CHARACTERS_MAX, Operation, Parameter
from artfs.wire.http import API, ErrorBody

_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_RANGE = {
    "name": "Range",
    "in": "header",
    "description": "One range of bytes, as in `bytes=0-1023` or `bytes=-512`.",
    "schema": {"type": "string"},
}


def document() -> dict[str, Any]:
    """The whole document, in an order that is always the same."""
    types = [t for operation in OPERATIONS for t in (operation.body, operation.answer) if t is not None]
    schemas, components = msgspec.json.schema_components(
        [ErrorBody, *types], schema_hook=_of_digest, ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip([ErrorBody, *types], schemas, strict=True))
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(API + operation.path, {})[operation.method.lower()] = _described(operation, by_type)
    for name, what in (("healthz", "Whether the process lives"), ("readyz", "Whether database and storage answer")):
        paths[f"/{name}"] = {"get": _open(name, what)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "artfs",
            "version": "1",
            "description": "A registry of versioned datasets and models. docs/api.md explains it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "responses": {"Error": _error(by_type[ErrorBody])},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "A token: `artfs_...`"}},
        },
    }


def _described(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _id_of(operation),
        "summary": operation.summary,
        "tags": [_tag_of(operation)],
        "parameters": [*_path_parameters(operation), *map(_query_parameter, operation.query)],
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schemas[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    elif operation.method == "PUT" and operation.binary:
        described["requestBody"] = {"required": True, "content": _BYTES}
    elif operation.binary:
        described["parameters"].append(_RANGE)
    return described


def _responses(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if operation.binary and operation.method != "PUT":
        body = {} if operation.method == "HEAD" else {"content": _BYTES}
        found["200"] = {"description": "All of it.", **body}
        found["206"] = {"description": "The range that was asked for.", **body}
        found["304"] = {"description": "The ETag given in If-None-Match is its own."}
        found["307"] = {"description": "Where the bytes are: a URL that needs no token."}
    elif operation.answer is None:
        found[str(operation.status)] = {"description": "Done."}
    else:
        content = {"application/json": {"schema": schemas[operation.answer]}}
        found[str(operation.status)] = {"description": "Done.", "content": content}
    errors = {"$ref": "#/components/responses/Error"}
    return {**found, "4XX": errors, "5XX": errors}


def _error(schema: dict[str, Any]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code, status in STATUSES.items():
        by_status.setdefault(status, []).append(code)
    told = "; ".join(f"{status}: {', '.join(codes)}" for status, codes in sorted(by_status.items()))
    return {"description": f"It failed. The codes: {told}.", "content": {"application/json": {"schema": schema}}}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [_path_parameter(name, operation) for name in re.findall(r"{(\w+)}", operation.path)]


def _path_parameter(name: str, operation: Operation) -> dict[str, Any]:
    # Only a version can be changed; the alias that may stand in the same place of a GET cannot.
    segment = SEGMENTS["version" if (operation.method, name) == ("PATCH", "selector") else name]
    schema = {"type": "string", "pattern": segment.pattern}
    return {"name": name, "in": "path", "required": True, "description": segment.meaning, "schema": schema}


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "maxLength": TEXT_CHARACTERS_MAX}
    if parameter.choices:
        schema = {"type": "string", "enum": list(parameter.choices)}
    elif parameter.type == "integer":
        schema = {"type": "integer", "minimum": parameter.least, "maximum": NUMBER_MAX}
    return {"name": parameter.name, "in": "query", "description": parameter.meaning, "schema": schema}


def _open(name: str, what: str) -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    errors = {"$ref": "#/components/responses/Error"}
    return {
        "operationId": name,
        "summary": what,
        "tags": ["health"],
        "security": [],
        "responses": {"200": {"description": "It does.", "content": text}, "5XX": errors},
    }


def _id_of(operation: Operation) -> str:
    """Unique, and readable: the method and the words of the path."""
    words: Sequence[str] = re.findall(r"\w+", operation.path)
    return "_".join([operation.method.lower(), *words])


def _tag_of(operation: Operation) -> str:
    """The noun that the path is about."""
    words = [word for word in operation.path.split("/") if word and not word.startswith("{")]
    return words[-1] if words else "server"


def _of_digest(type_: type) -> dict[str, Any]:
    if type_ is Digest:
        return {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "description": "A digest in its text form."}
    raise NotImplementedError(f"{get_origin(type_) or type_} in a body")


def text() -> str:
    """The document as it is written to docs/openapi.json."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
