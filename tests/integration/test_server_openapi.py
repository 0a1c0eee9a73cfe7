"""A running server does what docs/openapi.json says, for requests that fit it and for ones that do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from artfs.model.access import Role, Scope
from tests.contract.uploading import content_of
from tests.integration.serving import Caller, Draft, Place, upload

pytestmark = [pytest.mark.falsifies("hostile")]

DOCUMENT = Path(__file__).parents[2] / "docs/openapi.json"
EXAMPLES = 8
EXAMPLES_DEEP = 500
CONTENT = content_of({"a.txt": b"first", "d": {"b.bin": bytes(range(256)) * 100}})
KNOWN = {
    "project": "vision",
    "artifact": "bikes",
    "alias": "latest",
    "selector": "v0",
    "user": "bob",
    "draft": "d" * 32,
    "pack": "a" * 32,
    "version": "v0",
    "run": "r1",
    "sweep": "s1",
    "shared": "e" * 32,
    "digest": CONTENT.root.hex(),
}
WITHOUT_CALLER = {
    "delete_users_user",
    "delete_tokens_token",
    "patch_users_user",
}  # they would end the caller's own access
CONFIG: dict[str, Any] = {
    "checks": {
        "negative_data_rejection": {"expected-statuses": ["4xx"]},
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "3xx", "4xx", "507"]
        },  # a name may be taken, a draft over
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx"]},
    }
}


def document(known: dict[str, str]) -> dict[str, Any]:
    """The document, whose paths lead to what is there as often as to what is not."""
    found: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    found.pop("security")  # every request gets a token
    found["components"].pop("securitySchemes")
    for methods in found["paths"].values():
        for operation in methods.values():
            parameters = [
                one for one in operation.get("parameters", ()) if one["name"] != "wait_s"
            ]  # it takes its time
            operation["parameters"] = parameters
            for parameter in parameters:
                if parameter["in"] == "path" and parameter["name"] in known:
                    parameter["schema"] = {"anyOf": [{"enum": [known[parameter["name"]]]}, parameter["schema"]]}
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def bob(place: Place) -> Iterator[Caller]:
    """An administrator of the project `vision` who is none of the server."""
    with place.serving("--max-guesses", "100000000") as server:
        token = place.user("bob", Scope.ADMIN)
        place.project("vision", bob=Role.ADMIN)
        yield server.caller(token)
        lines = server.access_lines
        assert len(lines) > EXAMPLES
        assert not [line for line in lines if line["status"] in (0, 500)]
        assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def real(bob: Caller) -> dict[str, str]:
    """What stands for the ids that only a running server gives."""
    pack = upload(bob, "vision", "bikes", CONTENT)
    shared = bob.ok("POST", "/v1/projects/vision/artifacts/bikes/shared-drafts", {"group": "night"})["id"]
    bob.ok("POST", "/v1/projects/vision/sweeps", {"id": "s1"})
    bob.ok("POST", "/v1/projects/vision/runs", {"id": "r1", "sweep": "s1"})
    bob.ok("POST", "/v1/projects/vision/runs/r1/edges", {"kind": "logged", "versions": ["vision/bikes:v0"]})
    return {KNOWN["pack"]: pack, KNOWN["draft"]: Draft.open(bob, "vision").id, KNOWN["shared"]: shared}


SCHEMA = schemathesis.openapi.from_dict(document(KNOWN), config=SchemathesisConfig.from_dict(CONFIG))


def probe(case: Any, bob: Caller, real: dict[str, str]) -> None:
    if case.operation.definition.raw["operationId"] in WITHOUT_CALLER:
        return
    for name, value in case.path_parameters.items():
        case.path_parameters[name] = real.get(value, value) if isinstance(value, str) else value
    case.call_and_validate(base_url=bob.url, headers={"Authorization": f"Bearer {bob.token}"}, timeout=40)


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_the_server_does_what_the_document_says(case: Any, bob: Caller, real: dict[str, str]) -> None:
    probe(case, bob, real)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES_DEEP, suppress_health_check=list(HealthCheck))
def test_the_server_does_what_the_document_says_at_length(case: Any, bob: Caller, real: dict[str, str]) -> None:
    probe(case, bob, real)
