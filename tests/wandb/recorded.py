"""What artfs asks a W&B server that it reads, and the answers: recorded once, so that no later change of both sides changes them.

To record anew, which is due when artfs asks something else:

    PYTHONPATH=. .venv/bin/python -m tests.wandb.recorded write

That starts `artfs serve --wandb`, stores `FILES` and `CHANGED` and an artifact with a reference there, and reads all of it
through a server that notes every exchange in exchanges/reading.jsonl, a line each. Of a server's address a placeholder is kept,
of keys nothing, and of `LARGE` which of its bytes were answered.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import requests

from artfs.client.client import Client
from artfs.client.references.policy import Policy
from artfs.client.references.references import References
from artfs.client.trees import TreeReader
from artfs.model.access import Scope
from artfs.model.content import FileContent
from artfs.model.tree import EntryKind
from artfs.wandb_client.address import WandbAddress
from artfs.wandb_client.births import SCHEME, Births
from artfs.wandb_client.catalog import AskedCatalog
from artfs.wandb_client.graphql import GraphQL
from artfs.wandb_client.known_versions import KnownVersions
from artfs.wandb_client.manifests import Manifests
from artfs.wandb_client.objects import WandbObjects
from artfs.wandb_client.registry import WandbRegistry
from artfs.wandb_client.source import WandbSource
from artfs.wandb_client.trees import Trees
from tests.acceptance.team import Member
from tests.integration.test_wandb_protocol import COMMIT, REQUEST_S, Side, put
from tests.network.scripted import Seen, answer, answering
from tests.wandb.client import PROJECT, WandbServer, api_key, wandb_server

RECORDING = Path(__file__).with_name("exchanges") / "reading.jsonl"
ENTITY = "geoff"
SERVER = "{server}"  # where an answer has a server's URL
KEPT_HEADERS = ("Location", "Content-Range", "Content-Length", "Content-Type", "ETag")
TEXT = "application/json"
LARGE_PART_BYTES = 1024  # shorter bodies are kept as they are

LARGE = random.Random(7).randbytes((5 << 20) // 2)
FILES = {
    "train/cats/deep/0.png": b"\x89PNG zero",
    "train/cats/a b.txt": b"with a space",
    "train/\u00fc \u732b.txt": b"with letters",
    "train/50%25.txt": b"with a percent",
    "labels.csv": b"0,1\n",
    "empty": b"",
    "large.bin": LARGE,
}
CHANGED = FILES | {"labels.csv": b"1,0\n"}
DESCRIPTION = "what it is"
METADATA = {"n": [1, None], "by": "\u00fc"}
REFERENCE = {
    "digest": "0123abcd",
    "ref": "https://example.com/far/readme.txt",
    "size": 1234,
    "extra": {"etag": "0123abcd"},
}


class Question(NamedTuple):
    """What tells a request from others: `path` with its query, and of GraphQL the operation and its variables as sorted JSON."""

    method: str
    path: str
    range: str = ""
    operation: str = ""
    variables: str = ""

    @classmethod
    def of(cls, seen: Seen) -> Question:
        method, _, path = seen.line.partition(" ")
        if method != "POST":
            return cls(method, path, seen.headers.get("range", ""))
        asked = json.loads(seen.body)
        return cls(method, path, "", asked["operationName"], json.dumps(asked["variables"], sort_keys=True))


@dataclass(frozen=True)
class Exchange:
    """A question and its answer, with SERVER for the server's URL.

    Attributes:
        headers: those of KEPT_HEADERS that there are.
    """

    question: Question
    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def has_text(self) -> bool:
        return self.headers.get("Content-Type", "").startswith(TEXT)

    def reply(self, url: str) -> bytes:
        """The answer of a server with that URL."""
        body = self.body.replace(SERVER.encode(), url.encode()) if self.has_text else self.body
        headers = {name: value.replace(SERVER, url) for name, value in self.headers.items() if name != "Content-Length"}
        return answer(self.status, body, headers.pop("Content-Type", ""), **headers)

    def to_line(self) -> str:
        asked = {name: value for name, value in self.question._asdict().items() if value}
        if self.question.variables:
            asked["variables"] = json.loads(self.question.variables)
        told = {"status": self.status, "headers": self.headers, "body": _written(self.body)}
        return json.dumps(asked | told, ensure_ascii=False)

    @classmethod
    def of_line(cls, line: str) -> Exchange:
        told = json.loads(line)
        variables = json.dumps(told["variables"], sort_keys=True) if "variables" in told else ""
        asked = Question(told["method"], told["path"], told.get("range", ""), told.get("operation", ""), variables)
        return cls(asked, told["status"], told["headers"], _read(told["body"]))


def load(path: Path = RECORDING) -> list[Exchange]:
    return [Exchange.of_line(line) for line in path.read_text().splitlines()]


def _written(body: bytes) -> Any:
    """Text, the base64 of other bytes, or which bytes of LARGE it is."""
    first = LARGE.find(body) if len(body) >= LARGE_PART_BYTES else -1
    if first >= 0:
        return {"large": [first, first + len(body)]}
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _read(told: Any) -> bytes:
    if isinstance(told, str):
        return told.encode()
    return LARGE[slice(*told["large"])] if "large" in told else base64.b64decode(told["base64"])


class Recorder:
    """Hands requests on to a server. What was asked before is answered as before, so that a recording agrees with itself.

    Owner of `exchanges`: one thread at a time, as `answering` calls.
    """

    def __init__(self, upstream: str) -> None:
        self.exchanges: dict[Question, Exchange] = {}
        self._upstream = upstream
        self._session = requests.Session()
        self._session.trust_env = False  # a netrc of whoever records

    def answer(self, seen: Seen) -> bytes:
        question = Question.of(seen)
        if question not in self.exchanges:
            self.exchanges[question] = self._asked(question, seen)
        return self.exchanges[question].reply(f"http://{seen.headers['host']}")

    def _asked(self, question: Question, seen: Seen) -> Exchange:
        handed_on = ("authorization", "content-type", "range", "accept-encoding")
        got = self._session.request(
            question.method,
            self._upstream + question.path,
            data=seen.body or None,
            headers={name: seen.headers[name] for name in handed_on if name in seen.headers},
            allow_redirects=False,
            timeout=REQUEST_S,
        )
        headers = {
            name: got.headers[name].replace(self._upstream, SERVER) for name in KEPT_HEADERS if name in got.headers
        }
        exchange = Exchange(question, got.status_code, headers, got.content)
        if not exchange.has_text:
            return exchange
        body = got.content.replace(self._upstream.encode(), SERVER.encode())
        return Exchange(question, got.status_code, headers | {"Content-Length": str(len(body))}, body)


@contextmanager
def client_of(url: str, key: str, home: Path) -> Iterator[Client]:
    """A client of the W&B server at `url`, with nothing on disk but what it knows of blocks, in `home`."""
    registry = WandbRegistry(WandbAddress(url, ENTITY), key)
    references = References(Policy(schemes=()), seen=home / "references.db", sources={SCHEME: WandbSource(url, key)})
    births = Births()
    manifests = Manifests(registry.manifest, None)
    trees = Trees(births, registry.version_of, manifests.read, registry.created_at_ns)
    objects = WandbObjects(trees, births, references.reader)
    client = Client(registry, references=references, objects=objects)
    try:
        yield client
    finally:
        client.close()


class Read(NamedTuple):
    """A file that was read: `content` is the URI of one that is elsewhere."""

    content: bytes
    time_ns: int


def read(client: Client, artifact: str, selector: str) -> dict[str, Read]:
    """The files of a version of PROJECT, by path."""
    version = client.registry.versions.resolve(PROJECT, artifact, selector)
    found = {}
    for one in TreeReader(client.objects, PROJECT).walk(version.root_key.digest):
        if one.entry.kind is EntryKind.REFERENCE:
            (opened,) = client.objects.open_references(PROJECT, [(FileContent.of(one.entry), one.entry.name)])
            uri = opened.reference.uri
            content = b"".join(opened.stream()) if uri.startswith(f"{SCHEME}:") else uri.encode()
            found[one.path] = Read(content, one.time_ns)
    return found


def record() -> list[Exchange]:
    with tempfile.TemporaryDirectory() as directory, wandb_server(Path(directory) / "server") as running:
        token = running.place.user(ENTITY, Scope.ADMIN)
        _store(running, token, Path(directory))
        recorder = Recorder(running.server.url)
        with answering(recorder.answer) as proxy:
            _ask_everything(proxy.url, api_key(token))
            with client_of(proxy.url, api_key(token), Path(directory)) as client:
                assert {path: one.content for path, one in read(client, "bikes", "v0").items()} == FILES
                assert {path: one.content for path, one in read(client, "bikes", "v1").items()} == CHANGED
                assert [one.content.decode() for one in read(client, "links", "v0").values()] == [REFERENCE["ref"]]
            _fetch_wholes(proxy.url, list(recorder.exchanges.values()))
        found = list(recorder.exchanges.values())
        text = _text(found)
        assert not any(secret in text for secret in (token, api_key(token), directory, running.server.url, proxy.url))
    return found


def _store(running: WandbServer, token: str, directory: Path) -> None:
    """`bikes`, two versions in different seconds, and `links`, whose only file is elsewhere."""
    member = Member(directory / "writer", {"ARTFS_REGISTRY": running.server.url, "ARTFS_TOKEN": token})
    for files, alias in ((FILES, "first"), (CHANGED, "best")):
        root = member.home / alias
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        described = ("-d", DESCRIPTION, "--metadata", json.dumps(METADATA), "-t", "dataset", "-a", alias)
        member.run("put", "-n", f"{PROJECT}/bikes", *described, root)
        stored_s = int(time.time())
        while int(time.time()) == stored_s:
            time.sleep(0.01)
    side = Side(running.server.url, api_key(token))
    artifact = side.begin("links")
    manifest = json.dumps({"version": 1, "contents": {"far/readme.txt": REFERENCE}}).encode()
    assert put(side.manifest_url(artifact, manifest), manifest).status_code == 200
    side.ask(COMMIT, a=artifact)


def _ask_everything(url: str, key: str) -> None:
    """Every question that there is about what is there, whichever of them a command or a mount will ask."""
    graphql = GraphQL(url, key)
    catalog = AskedCatalog(graphql, "", KnownVersions())
    assert catalog.entity == ENTITY
    for project in catalog.projects():
        catalog.project(project)
        for artifact in catalog.artifacts(project):
            catalog.artifact(project, artifact)
            versions = catalog.versions(project, artifact)
            for selector in (*versions.aliases, *(f"v{number}" for number in versions.records)):
                catalog.version(project, artifact, selector)
    graphql.close()


def _fetch_wholes(url: str, exchanges: Iterable[Exchange]) -> None:
    """Each file in one range, of which any other is a part."""
    for exchange in exchanges:
        size = exchange.headers.get("Content-Range", "").rpartition("/")[2]
        if size:
            headers = {"Range": f"bytes=0-{int(size) - 1}"}
            got = requests.get(url + exchange.question.path, headers=headers, timeout=REQUEST_S)
            assert got.status_code == 206


def _text(exchanges: Iterable[Exchange]) -> str:
    return "".join(f"{exchange.to_line()}\n" for exchange in exchanges)


if __name__ == "__main__":
    if sys.argv[1:] != ["write"]:
        sys.exit(__doc__)
    recorded = record()
    RECORDING.parent.mkdir(exist_ok=True)
    RECORDING.write_text(_text(recorded))
