"""A W&B server that answers what was recorded and nothing else, and the forms in which other servers tell the same.

A form is a function of exchanges to exchanges: what the public client accepts beside what `artfs serve --wandb` tells.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.network.scripted import Seen, answer, answering
from tests.network.scripted import record as told
from tests.wandb.recorded import ENTITY, Exchange, Question

KEY = "0123456789abcdef0123456789abcdef01234567"
WITH_KEY = ("/graphql", "/artifacts/", "/artifactsV2/")
PORTFOLIO = "linked"
_FILE = re.compile(rf"/artifactsV2/default/{ENTITY}/(?P<birth>[^/]+)/(?P<rest>[0-9a-f]{{32}}/[^/]+)")

Form = Callable[[list[Exchange]], list[Exchange]]
_Value = Any  # JSON


class Replayed:
    """The server's answers, and what it was asked.

    Owner of all: one thread at a time, as `answering` calls.

    Args:
        expires: whether each signed URL of a file is refused when it is first used.

    Attributes:
        asked: everything, in order.
        unknown: what was not recorded.
        misplaced: what came without the key that it needs, or with one that it must not have.
    """

    def __init__(self, exchanges: Iterable[Exchange], *, expires: bool = False) -> None:
        self.url = ""
        self.asked: list[Question] = []
        self.unknown: list[Question] = []
        self.misplaced: list[Question] = []
        self._exchanges = {one.question: one for one in exchanges}
        self._wholes = {one.question.path: one for one in self._exchanges.values() if _is_whole(one)}
        self._to_expire = set(self._wholes) if expires else set()

    def answer(self, seen: Seen) -> bytes:
        question = Question.of(seen)
        self.asked.append(question)
        due = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
        if seen.headers.get("authorization", "") != (due if question.path.startswith(WITH_KEY) else ""):
            self.misplaced.append(question)
            return answer(401)
        if question.path in self._to_expire:
            self._to_expire.remove(question.path)
            return answer(403)
        found = self._exchanges.get(question) or self._part(question)
        if found is None:
            self.unknown.append(question)
            return told({"errors": [{"message": "this was not recorded"}]}, 404)
        return found.reply(self.url)

    def _part(self, question: Question) -> Exchange | None:
        """Part of a range that was recorded is recorded too."""
        whole = self._wholes.get(question.path)
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", question.range)
        if whole is None or span is None or int(span[2]) >= len(whole.body):
            return None
        headers = whole.headers | {"Content-Range": f"bytes {span[1]}-{span[2]}/{len(whole.body)}"}
        return replace(whole, headers=headers, body=whole.body[int(span[1]) : int(span[2]) + 1])


def _is_whole(exchange: Exchange) -> bool:
    size = len(exchange.body)
    return exchange.headers.get("Content-Range") == f"bytes 0-{size - 1}/{size}"


@contextmanager
def replayed(exchanges: Iterable[Exchange], *, expires: bool = False) -> Iterator[Replayed]:
    server = Replayed(exchanges, expires=expires)
    with answering(server.answer) as running:
        server.url = running.url
        yield server


def _is_answer(exchange: Exchange) -> bool:
    return exchange.question.path == "/graphql"


def _is_manifest(exchange: Exchange) -> bool:
    return exchange.question.path.startswith("/wandb/files/manifest/")


def _changed(
    exchanges: list[Exchange], change: Callable[[_Value], _Value], which: Callable[[Exchange], bool]
) -> list[Exchange]:
    """With another JSON in the bodies of some; at least one of them is another one then."""
    found = [
        replace(one, body=json.dumps(change(json.loads(one.body))).encode()) if which(one) else one for one in exchanges
    ]
    assert any(
        which(one) and json.loads(one.body) != json.loads(old.body) for one, old in zip(found, exchanges, strict=True)
    )
    return found


def _everywhere(value: _Value, change: Callable[[dict[str, _Value]], dict[str, _Value]]) -> _Value:
    """With another object in the place of each, those inside first."""
    if isinstance(value, dict):
        return change({name: _everywhere(one, change) for name, one in value.items()})
    return [_everywhere(one, change) for one in value] if isinstance(value, list) else value


def _moved(exchanges: list[Exchange], place: str) -> list[Exchange]:
    """With files at other paths of the server; `place` may name groups of _FILE."""
    found = [one._replace(path=_FILE.sub(place, one.path)) for one in (exchange.question for exchange in exchanges)]
    return [replace(exchange, question=question) for exchange, question in zip(exchanges, found, strict=True)]


def more_fields(exchanges: list[Exchange]) -> list[Exchange]:
    """Every object has a type's name, and fields that nobody knows."""

    def change(value: dict[str, _Value]) -> dict[str, _Value]:
        return {"__typename": "Anything", **value, "futureField": {"nodes": [1, None, "x"]}}

    def changed(value: _Value) -> _Value:
        return {"extensions": {"cost": 7}, "data": _everywhere(value["data"], change)}

    def of_manifest(value: _Value) -> _Value:
        contents = {
            path: {**entry, "skip_cache": False, "local_path": None} for path, entry in value["contents"].items()
        }
        return {**value, "futureField": [], "contents": contents}

    return _changed(_changed(exchanges, changed, _is_answer), of_manifest, _is_manifest)


def nulls(exchanges: list[Exchange]) -> list[Exchange]:
    """What need not be there is null."""
    optional = ("description", "metadata", "aliases", "defaultArtifactType")
    return _changed(
        exchanges,
        lambda told: _everywhere(told, lambda one: {name: None if name in optional else one[name] for name in one}),
        _is_answer,
    )


def times(form: str) -> Form:
    """Times end with `form` in the place of what follows the seconds."""

    def change(value: dict[str, _Value]) -> dict[str, _Value]:
        return value | ({"createdAt": value["createdAt"][:19] + form} if value.get("createdAt") else {})

    return lambda exchanges: _changed(exchanges, lambda told: _everywhere(told, change), _is_answer)


def stored_as(config: Mapping[str, str | None] | None, place: str) -> Form:
    """Manifests have another configuration of the storage, or none, and files are at `place`."""

    def change(manifest: _Value) -> _Value:
        other = {name: value for name, value in manifest.items() if name != "storagePolicyConfig"}
        return other if config is None else other | {"storagePolicyConfig": config}

    return lambda exchanges: _moved(_changed(exchanges, change, _is_manifest), place)


def births(value: str | None, *, told: bool = True) -> Form:
    """Entries do not say with which artifact they came: with `value`, or without the field."""

    def change(manifest: _Value) -> _Value:
        contents = {
            path: {name: entry[name] for name in entry if name != "birthArtifactID"}
            | ({"birthArtifactID": value} if told and "ref" not in entry else {})
            for path, entry in manifest["contents"].items()
        }
        return manifest | {"contents": contents}

    place = rf"/artifactsV2/default/{ENTITY}//\g<rest>"
    return lambda exchanges: _moved(_changed(exchanges, change, _is_manifest), place)


def portfolio(exchanges: list[Exchange]) -> list[Exchange]:
    """Beside the artifacts is PORTFOLIO, of which v0, with the alias `chosen`, is v1 of `bikes`."""
    node = {
        "__typename": "ArtifactPortfolio",
        "name": PORTFOLIO,
        "description": None,
        "createdAt": "2024-01-02T03:04:05",
        "defaultArtifactType": {"name": "dataset"},
        "artifacts": {"totalCount": 1},
    }

    def change(value: _Value) -> _Value:
        found = value["data"]["project"]["artifactType"]["artifactCollections"]
        found["edges"].append({"node": node})
        return value

    def lists_collections(exchange: Exchange) -> bool:
        question = exchange.question
        return question.operation == "ArtfsCollections" and json.loads(question.variables)["type"] == "dataset"

    return _changed(exchanges, change, lists_collections) + list(_of_portfolio(exchanges, node))


def _of_portfolio(exchanges: list[Exchange], node: dict[str, _Value]) -> Iterator[Exchange]:
    """What is answered about it, made of the answers about `bikes`."""

    def about(exchange: Exchange, body: _Value, **more: str) -> Exchange:
        variables = json.loads(exchange.question.variables) | {"artifact": PORTFOLIO, **more}
        question = exchange.question._replace(variables=json.dumps(variables, sort_keys=True))
        return replace(exchange, question=question, body=json.dumps(body).encode())

    for exchange in exchanges:
        asked = json.loads(exchange.question.variables or "{}")
        if asked.get("artifact") != "bikes":
            continue
        body = json.loads(exchange.body)
        if exchange.question.operation == "ArtfsCollection":
            body["data"]["project"]["artifactCollection"] = node
            yield about(exchange, body)
            continue
        collection = body["data"]["project"]["artifactCollection"]
        collection["id"] = "cG9ydGZvbGlv"
        alias = {"alias": "chosen", "artifactCollection": {"id": collection["id"]}}
        if exchange.question.operation == "ArtfsVersions":
            edges = [edge for edge in collection["artifacts"]["edges"] if edge["node"]["versionIndex"] == 1]
            collection["artifacts"]["edges"] = [edge | {"version": "v0"} for edge in edges]
            edges[0]["node"]["aliases"].append(alias)
            yield about(exchange, body)
        elif asked.get("selector") == "best":
            collection["artifactMembership"]["versionIndex"] = 0
            collection["artifactMembership"]["artifact"]["aliases"].append(alias)
            for selector in ("v0", "chosen"):
                yield about(exchange, body, selector=selector)
