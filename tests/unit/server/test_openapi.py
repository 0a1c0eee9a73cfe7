"""docs/openapi.json is what the table of operations says."""

from __future__ import annotations

import re
from pathlib import Path

from artfs.server.app import OPERATIONS
from artfs.server.openapi import document, text
from artfs.wire.http import API

DOCS = Path(__file__).parents[3] / "docs"


def test_the_committed_document_is_the_generated_one() -> None:
    assert (DOCS / "openapi.json").read_text(encoding="utf-8") == text(), (
        "write it anew: python -m artfs.server.openapi docs/openapi.json"
    )


def test_every_operation_is_described_under_an_id_of_its_own() -> None:
    described = [one for methods in document()["paths"].values() for one in methods.values()]
    ids = [one["operationId"] for one in described]
    assert len(set(ids)) == len(ids) == len(OPERATIONS) + 2


def test_every_path_is_in_the_prose() -> None:
    prose = (DOCS / "api.md").read_text(encoding="utf-8")
    nouns = {re.sub(r"{\w+}", "", operation.path).rstrip("/").rpartition("/")[2] for operation in OPERATIONS}
    assert not [noun for noun in nouns if noun and noun not in prose]
    assert API in prose
