"""What `artfs serve --wandb` answers to requests that the `wandb` client does not send when all is well."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from artfs.client.client import Client
from artfs.model.access import Role, Scope, Visibility, api_key_of_token
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.resources import Verify
from artfs.wandb_server.routes import opener, routes
from tests.integration.serving import wait_until
from tests.network.served import served
from tests.reliability.trials import tried

REQUEST_S = 30
PROJECT = "vision"
SWEEP = "{method: grid, parameters: {p: {value: 1}}}"


def encoded_md5(data: bytes) -> str:
    return base64.b64encode(md5(data, usedforsecurity=False).digest()).decode()


@dataclass
class Side:
    """A user's key, used without the client."""

    url: str
    key: str

    def post(self, body: Any, path: str = "/graphql", **more: Any) -> requests.Response:
        auth = None if not self.key else ("api", self.key)
        return requests.post(self.url + path, json=body, auth=auth, timeout=REQUEST_S, **more)

    def ask(self, query: str, **variables: Any) -> Any:
        answer = self.post({"query": query, "variables": variables})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def refused(self, query: str, **variables: Any) -> tuple[int, str]:
        """Status and message of an answer that is final for the client."""
        answer = self.post({"query": query, "variables": variables})
        assert 400 <= answer.status_code < 500, answer.text
        return answer.status_code, answer.json()["errors"][0]["message"]

    def begin(self, name: str = "bikes", **more: Any) -> str:
        """The id of an artifact that is on its way."""
        given = {"projectName": PROJECT, "artifactCollectionName": name, "artifactTypeName": "dataset", **more}
        found = self.ask(
            "mutation M($input: I!) { createArtifact(input: $input) { artifact { id state } } }", input=given
        )
        assert found["createArtifact"]["artifact"]["state"] == "PENDING"
        return str(found["createArtifact"]["artifact"]["id"])

    def file_url(self, artifact: str, path: str, data: bytes) -> str | None:
        spec = [{"artifactID": artifact, "name": path, "md5": encoded_md5(data)}]
        below = "{ files { edges { node { uploadUrl } } } }"
        query = "mutation M($files: F!) { createArtifactFiles(input: {artifactFiles: $files}) " + below + " }"
        found = self.ask(query, files=spec)["createArtifactFiles"]["files"]["edges"][0]["node"]["uploadUrl"]
        return None if found is None else str(found)

    def manifest_url(self, artifact: str, manifest: bytes) -> str:
        query = (
            "mutation M($a: ID!, $d: String!) { createArtifactManifest(input: {artifactID: $a, digest: $d, type: FULL})"
            " { artifactManifest { id file { uploadUrl } } } }"
        )
        told = self.ask(query, a=artifact, d=encoded_md5(manifest))
        return str(told["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"])

    def describe(self, artifact: str, files: dict[str, bytes]) -> None:
        contents = {path: {"digest": encoded_md5(data), "size": len(data)} for path, data in files.items()}
        manifest = json.dumps({"version": 1, "contents": contents}).encode()
        assert put(self.manifest_url(artifact, manifest), manifest).status_code == 200


COMMIT = "mutation M($a: ID!) { commitArtifact(input: {artifactID: $a}) { artifact { id versionIndex digest } } }"


def put(url: str, data: bytes, **headers: str) -> requests.Response:
    return requests.put(url, data=data, headers=headers, timeout=REQUEST_S)


@dataclass
class World:
    url: str
    directory: Path

    def side(self, name: str, *scopes: Scope) -> Side:
        registry = EmbeddedRegistry(self.directory / "registry")
        if name not in [user.name for user in registry.access.users.list()]:
            registry.access.users.create(name)
        token = registry.access.tokens.create(name, "", scopes or [Scope.WRITE]).secret
        registry.close()
        key = api_key_of_token(token)
        assert key is not None
        return Side(self.url, key)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    registry = EmbeddedRegistry(tmp_path / "registry")
    registry.access.users.create("geoff")
    registry.projects.create(PROJECT)
    registry.access.members.set(PROJECT, "geoff", Role.WRITER)
    registry.close()
    more = routes(opener(Client, tmp_path / "wandb"))
    with served(partial(EmbeddedRegistry, tmp_path / "registry", verify=Verify.ALL), more=more) as url:
        yield World(url, tmp_path)


@pytest.fixture
def geoff(world: World) -> Side:
    return world.side("geoff")


def test_a_version_is_made_of_what_was_sent(world: World, geoff: Side) -> None:
    artifact = geoff.begin()
    files = {"a.txt": b"small", "sub/b.bin": bytes(2_000_000)}
    for path, data in files.items():
        url = geoff.file_url(artifact, path, data)
        assert url is not None
        assert put(url, data).status_code == 200
    geoff.describe(artifact, files)
    made = geoff.ask(COMMIT, a=artifact)["commitArtifact"]["artifact"]
    assert made["versionIndex"] == 0
    assert geoff.ask(COMMIT, a=artifact)["commitArtifact"]["artifact"] == made
    again = geoff.begin(digest="another")
    assert [geoff.file_url(again, path, data) for path, data in files.items()] == [None, None]
    query = "query Q($a: ID!) { artifact(id: $a) { files { edges { node { name directUrl } } } } }"
    for edge in geoff.ask(query, a=made["id"])["artifact"]["files"]["edges"]:
        got = requests.get(edge["node"]["directUrl"], timeout=REQUEST_S)
        assert got.content == files[edge["node"]["name"]]
        part = requests.get(edge["node"]["directUrl"], headers={"Range": "bytes=1-2"}, timeout=REQUEST_S)
        assert (part.status_code, part.content) == (206, files[edge["node"]["name"]][1:3])
    assert not any(path.is_dir() for path in (world.directory / "wandb/uploads").iterdir() if artifact in path.name)


@pytest.mark.falsifies("whole", "verified")
def test_a_body_that_is_cut_or_another_is_not_taken(geoff: Side) -> None:
    artifact = geoff.begin()
    data = b"what was announced"
    url = geoff.file_url(artifact, "a", data)
    assert url is not None
    answer = put(url, b"something else")
    assert (answer.status_code, "MD5" in answer.text) == (400, True)
    geoff.describe(artifact, {"a": data})
    assert geoff.refused(COMMIT, a=artifact)[0] == 400
    assert put(url, data).status_code == 200
    tried("uploads that are not what was announced", 2)
    assert geoff.ask(COMMIT, a=artifact)["commitArtifact"]["artifact"]["versionIndex"] == 0


@pytest.mark.falsifies("whole")
def test_a_body_that_ends_early_leaves_nothing(world: World, geoff: Side) -> None:
    artifact = geoff.begin()
    data = bytes(3_000_000)
    url = geoff.file_url(artifact, "a", data)
    assert url is not None
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=REQUEST_S)
    connection.putrequest("PUT", f"{address.path}?{address.query}")
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders(data[:2_000_000])
    place = world.directory / "wandb/uploads"
    wait_until(lambda: any(place.rglob("part-*")), "the upload has begun")
    connection.close()
    wait_until(lambda: not any(place.rglob("part-*")), "what was sent of it is gone")
    geoff.describe(artifact, {"a": data})
    status, message = geoff.refused(COMMIT, a=artifact)
    assert (status, "was not sent" in message) == (400, True)
    tried("uploads that ended early")


@pytest.mark.falsifies("whole", "verified")
def test_a_manifest_that_contradicts_the_files_makes_no_version(geoff: Side) -> None:
    artifact = geoff.begin()
    url = geoff.file_url(artifact, "a", b"abc")
    assert url is not None
    assert put(url, b"abc").status_code == 200
    contents = {"a": {"digest": encoded_md5(b"abc"), "size": 4}}
    manifest = json.dumps({"contents": contents}).encode()
    assert put(geoff.manifest_url(artifact, manifest), manifest).status_code == 200
    status, message = geoff.refused(COMMIT, a=artifact)
    assert (status, "3 bytes, not 4" in message) == (400, True)
    assert geoff.ask(f'{{ project(name: "{PROJECT}") {{ artifact(name: "bikes") {{ id }} }} }}') == {
        "project": {"artifact": None}
    }


@pytest.mark.falsifies("access")
def test_urls_that_were_changed_are_refused(world: World, geoff: Side) -> None:
    artifact = geoff.begin()
    url = geoff.file_url(artifact, "a", b"abc")
    assert url is not None
    for bad in (
        url.replace("/content/", "/manifest/"),
        url.replace("/content/", "/run/"),
        url.replace("/content/", "/nothing/"),
        url[:-3] + ("AAA" if not url.endswith("AAA") else "BBB"),
        url.partition("?")[0],
        url.replace("p=", "p=x"),
    ):
        assert put(bad, b"abc").status_code in (403, 404), bad
        assert requests.get(bad, timeout=REQUEST_S).status_code in (403, 404), bad
        tried("signed URLs that were changed")
    assert requests.get(url, timeout=REQUEST_S).status_code == 403, "to write is not to read"
    assert (world.directory / "wandb/url-key").stat().st_mode & 0o777 == 0o600


def attempts(artifact: str) -> list[tuple[str, dict[str, Any]]]:
    """What somebody might try who knows the names of a project that they may not see."""
    by_id = [
        "commitArtifact(input: {artifactID: $a}) { artifact { id } }",
        'createArtifactManifest(input: {artifactID: $a, type: FULL, digest: ""}) { artifactManifest { id } }',
        'createArtifactFiles(input: {artifactFiles: [{artifactID: $a, name: "a", md5: ""}]}) { files { edges { cursor } } }',
        'updateArtifact(input: {artifactID: $a, description: "mine"}) { artifact { id } }',
        'addAliases(input: {artifactID: $a, aliases: [{alias: "mine"}]}) { success }',
        "deleteArtifact(input: {artifactID: $a, deleteAliases: true}) { artifact { id } }",
        f'useArtifact(input: {{artifactID: $a, projectName: "{PROJECT}", runName: "r"}}) {{ artifact {{ id }} }}',
    ]
    given = f'modelName: "{PROJECT}", projectName: "{PROJECT}"'
    return [
        *((f"mutation M($a: ID!) {{ {one} }}", {"a": artifact}) for one in by_id),
        (f'mutation {{ upsertBucket(input: {{{given}, name: "r"}}) {{ inserted }} }}', {}),
        (
            f'mutation {{ createRunFiles(input: {{{given}, runName: "r", files: ["f"]}}) {{ files {{ uploadUrl }} }} }}',
            {},
        ),
        (f'mutation {{ upsertSweep(input: {{{given}, config: "{SWEEP}"}}) {{ sweep {{ name }} }} }}', {}),
    ]


@pytest.mark.falsifies("access")
@pytest.mark.parametrize("visibility", [Visibility.PRIVATE, Visibility.PUBLIC])
def test_who_may_not_write_changes_nothing_and_who_may_not_read_learns_nothing(
    world: World, geoff: Side, visibility: Visibility
) -> None:
    pending = geoff.begin()
    geoff.describe(pending, {})
    made = geoff.ask(COMMIT, a=pending)["commitArtifact"]["artifact"]["id"]
    open_upload = geoff.begin("other")
    registry = EmbeddedRegistry(world.directory / "registry")
    registry.projects.update(PROJECT, visibility=visibility)
    registry.close()
    other = world.side("mallory")
    for artifact in (made, open_upload):
        for query, variables in attempts(artifact):
            status, _ = other.refused(query, **variables)
            assert status in (400, 403, 404), (status, query)
            tried("mutations of somebody who may not write")
    reading = [
        (f'{{ project(name: "{PROJECT}") {{ name runs {{ edges {{ node {{ id }} }} }} }} }}', "project"),
        (f'{{ artifact(id: "{made}") {{ id }} }}', "artifact"),
    ]
    for query, field in reading:
        assert (other.ask(query)[field] is None) is (visibility is Visibility.PRIVATE), query
    answer = requests.get(
        f"{world.url}/artifactsV2/default/geoff/{PROJECT}/bikes/x/{'0' * 32}/a",
        auth=("api", other.key),
        timeout=REQUEST_S,
    )
    assert answer.status_code == 404
    registry = EmbeddedRegistry(world.directory / "registry")
    versions, runs = registry.versions.list(PROJECT, "bikes"), registry.runs.list(PROJECT)
    registry.close()
    assert [(version.number, version.description, version.aliases) for version in versions] == [(0, "", ["latest"])]
    assert runs == []


SENSELESS = [
    b"",
    b"{}",
    b"[]",
    b'{"query": 1}',
    b'{"query": "nonsense"}',
    b'{"query": "mutation { createArtifact { artifact { id } } }"}',
    b'{"query": "mutation { createArtifact(input: 3) { artifact { id } } }"}',
    b'{"query": "mutation { createArtifact(input: {projectName: \\"../x\\", artifactTypeName: \\"t\\"}) { x } }"}',
    b'{"query": "mutation { commitArtifact(input: {artifactID: \\"x\\"}) { artifact { id } } }"}',
    b'{"query": "mutation { createArtifactFiles(input: {artifactFiles: [1]}) { files { edges { node { name } } } } }"}',
    b'{"query": "mutation { agentHeartbeat(input: {id: \\"QWdlbnQ6YQ==\\"}) { commands } }"}',
    b'{"query": "{ project(name: \\"vision\\") { runs(filters: \\"[]\\") { edges { node { id } } } } }"}',
    b'{"query": "{ project(name: \\"vision\\") { runs(after: \\"?\\", first: \\"x\\") { edges { node { id } } } } }"}',
]


@pytest.mark.falsifies("hostile")
def test_a_request_that_makes_no_sense_is_refused_at_once(geoff: Side) -> None:
    for body in SENSELESS:
        answer = requests.post(f"{geoff.url}/graphql", data=body, auth=("api", geoff.key), timeout=REQUEST_S)
        assert 400 <= answer.status_code < 500, (body, answer.status_code, answer.text)
        assert answer.json()["errors"][0]["message"]
    tried("requests that make no sense", len(SENSELESS))


@pytest.mark.falsifies("hostile")
def test_a_sweep_in_few_lines_that_stand_for_terabytes_is_refused(geoff: Side) -> None:
    levels = "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(15))
    config = f"method: random\nparameters: {{p: {{value: 1}}}}\na0: &a0 [1]\n{levels}"
    query = "mutation M($p: String, $c: String) { upsertSweep(input: {projectName: $p, config: $c}) { sweep { id } } }"
    status, message = geoff.refused(query, p=PROJECT, c=config)
    assert (status, "YAML" in message) == (400, True)


@pytest.mark.falsifies("access")
def test_a_wrong_key_is_told_nothing(world: World) -> None:
    for key in ("", "0" * 40, "short", "ü" * 40):
        side = Side(world.url, key)
        for path in ("/graphql", f"/files/geoff/{PROJECT}/r/file_stream"):
            answer = side.post({"query": "{ viewer { id } }"}, path)
            assert answer.status_code == 401
            assert "API key" in answer.json()["errors"][0]["message"]
            tried("requests with a wrong key")


def test_a_client_may_ask_what_there_is(geoff: Side) -> None:
    found = geoff.ask("""{
        q: __type(name: "Query") { fields { name args { name } } }
        i: __type(name: "CreateArtifactInput") { inputFields { name } }
        x: __type(name: "X") { fields { name } }
    }""")
    assert "artifact" in [field["name"] for field in found["q"]["fields"]]
    assert {"name": "digest"} in found["i"]["inputFields"]
    assert found["x"] == {"fields": []}


def test_a_runs_stream_is_kept_and_may_be_repeated(world: World, geoff: Side) -> None:
    geoff.ask(
        f'mutation {{ upsertBucket(input: {{modelName: "{PROJECT}", name: "r", config: "{{}}"}}) {{ inserted }} }}'
    )
    lines = [json.dumps({"_step": n, "_timestamp": 1.5 + n, "loss": n / 2}) for n in range(3)]
    sent = {
        "files": {
            "wandb-history.jsonl": {"offset": 0, "content": lines},
            "wandb-summary.json": {"offset": 0, "content": ['{"loss": 1.0, "best": 0}']},
            "output.log": {"offset": 0, "content": ["text"]},
        },
        "complete": True,
        "exitcode": 3,
    }
    for _ in range(2):
        assert geoff.post(sent, f"/files/geoff/{PROJECT}/r/file_stream").status_code == 200
    registry = EmbeddedRegistry(world.directory / "registry")
    run, history = registry.runs.get(PROJECT, "r"), registry.runs.history(PROJECT, "r")
    registry.close()
    assert (run.state.value, run.exit_code, run.summary) == ("failed", 3, {"loss": 1.0, "best": 0})
    assert [(row.step, row.time_ns, row.values) for row in history] == [
        (n, int((1.5 + n) * 10**9), {"loss": n / 2}) for n in range(3)
    ]
