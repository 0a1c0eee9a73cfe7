"""A running server answers as docs/api.md says: tokens, pages, ranges, waiting for changes, health, metrics, and its log."""

from __future__ import annotations

import json
import os
import random
import time
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from artfs.model.access import Role, Scope, Visibility
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import decode_recipe
from tests.contract.uploading import content_of
from tests.integration.serving import Caller, Draft, Place, Server, upload, wait_until

pytestmark = [pytest.mark.falsifies("access", "no-hang")]

CONTENT = content_of({"a.txt": b"first", "d": {"b.bin": bytes(range(256)) * 20_000, "c": b"last"}})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    with place.serving() as server:
        yield server


@pytest.fixture(scope="module")
def alice(place: Place, server: Server) -> Caller:
    """An administrator of the server."""
    return server.caller(place.user("alice", Scope.ADMIN, admin=True))


@pytest.fixture(scope="module")
def pack(alice: Caller) -> str:
    """The path of a pack of project `vision`, whose artifact `bikes` has one version."""
    alice.ok("POST", "/v1/projects", {"name": "vision"})
    return f"/v1/projects/vision/packs/{upload(alice, 'vision', 'bikes', CONTENT)}"


@pytest.fixture(scope="module")
def pack_bytes(alice: Caller, pack: str) -> bytes:
    return alice("GET", pack).content


def test_a_server_says_what_it_is(alice: Caller, place: Place) -> None:
    told = alice.ok("GET", "/v1")
    registry = place.registry
    assert told["identity"] == registry.identity
    assert told["api"] == 1
    registry.close()


def test_wrong_absent_and_malformed_tokens_answer_alike(server: Server, place: Place) -> None:
    token = place.user("walter")
    same_id = token[:-4] + ("0000" if token[-4:] != "0000" else "1111")
    answers = []
    for header in (
        None,
        f"Bearer {same_id}",
        "Bearer artfs_0123456789abcdef_00",
        f"Basic {token}",
        "Bearer",
        "Bearer é",
    ):
        headers = {} if header is None else {"Authorization": header.encode("utf-8")}
        response = server.caller()("GET", "/v1/me", headers=headers)
        told = {name: value for name, value in response.headers.items() if name.lower() not in ("date", "x-request-id")}
        answers.append((response.status_code, response.content, told))
    assert answers[0][0] == 401
    assert all(answer == answers[0] for answer in answers)


def test_a_revoked_token_stops_working(server: Server, place: Place, alice: Caller) -> None:
    call = server.caller(place.user("rita"))
    call.ok("GET", "/v1/me")
    (token,) = alice.ok("GET", "/v1/users/rita/tokens")["items"]
    alice.ok("DELETE", f"/v1/tokens/{token['id']}")
    wait_until(lambda: call("GET", "/v1/me").status_code == 401, "the token is refused", 10)


def test_lists_come_in_pages(alice: Caller, server: Server) -> None:
    names = [f"page-{n}" for n in range(5)]
    for name in names:
        alice.ok("POST", "/v1/projects", {"name": name, "visibility": "open"})
    found, after, pages = [], "page-", 0
    while after:
        page = alice.ok("GET", f"/v1/projects?after={after}&limit=2")
        found += [record["name"] for record in page["items"] if record["name"] in names]
        after, pages = page["next"], pages + 1
    assert found == names
    assert pages >= 3


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=10-99", slice(10, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=-99999999", slice(0, None)),
        ("bytes=5-99999999", slice(5, None)),
    ],
)
def test_one_range_of_a_pack_is_sent(alice: Caller, pack: str, pack_bytes: bytes, wanted: str, part: slice) -> None:
    response = alice("GET", pack, headers={"Range": wanted})
    assert response.status_code == 206
    assert response.content == pack_bytes[part]
    first = range(len(pack_bytes))[part].start
    assert response.headers["Content-Range"] == f"bytes {first}-{first + len(response.content) - 1}/{len(pack_bytes)}"


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=-0", "bytes=99999999999-999999999999"])
def test_a_range_beyond_the_end_is_refused(alice: Caller, pack: str, pack_bytes: bytes, wanted: str) -> None:
    assert alice.refused("GET", pack, headers={"Range": wanted}) == (416, "invalid-value")
    assert alice("GET", pack, headers={"Range": wanted}).headers["Content-Range"] == f"bytes */{len(pack_bytes)}"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=9-1", "bytes", "bytes=--5"])
def test_a_range_that_is_none_is_ignored(alice: Caller, pack: str, pack_bytes: bytes, wanted: str) -> None:
    response = alice("GET", pack, headers={"Range": wanted})
    assert (response.status_code, response.content) == (200, pack_bytes)


def test_a_pack_is_asked_for_conditionally(alice: Caller, pack: str, pack_bytes: bytes) -> None:
    head = alice("HEAD", pack)
    etag = head.headers["ETag"]
    assert etag == f'"{pack.rpartition("/")[2]}"'
    assert (head.status_code, int(head.headers["Content-Length"])) == (200, len(pack_bytes))
    assert "immutable" in head.headers["Cache-Control"]
    assert alice("GET", pack, headers={"If-None-Match": f'"other", {etag}'}).status_code == 304
    assert alice("GET", pack, headers={"If-None-Match": '"other"'}).status_code == 200
    ranged = {"Range": "bytes=0-9"}
    assert alice("GET", pack, headers={**ranged, "If-Range": etag}).status_code == 206
    assert alice("GET", pack, headers={**ranged, "If-Range": '"other"'}).content == pack_bytes


def test_located_objects_are_where_the_answer_says(alice: Caller, pack: str) -> None:
    keys = [str(key) for key in CONTENT.objects] + ["chunk sha256:" + "0" * 64]
    places = alice.ok("POST", "/v1/projects/vision/locate", {"keys": keys})
    assert places["packs"] == [pack]
    assert places["objects"][-1] is None
    assert all(place[0] == 0 for place in places["objects"][:-1])


def test_a_tree_is_sent_decoded(alice: Caller, pack: str) -> None:
    path = f"/v1/projects/vision/trees/{CONTENT.root.hex()}"
    response = alice("GET", path)
    assert response.content == CONTENT.objects[CONTENT.root_key]
    assert response.headers["ETag"] == f'"{CONTENT.root.hex()}"'
    assert alice("GET", path, headers={"Range": "bytes=2-5"}).content == response.content[2:6]
    assert alice.refused("GET", f"/v1/projects/vision/trees/{'0' * 64}") == (404, "path-not-found")


def test_a_tree_is_sent_with_what_is_below_it_and_where_that_is(alice: Caller, pack: str) -> None:
    path = f"/v1/projects/vision/trees/{CONTENT.root.hex()}/pages"
    answer = alice.ok("GET", path)
    sent = [ObjectKey(ObjectKind.TREE, Digest(b64decode(digest))) for digest, _ in answer["pages"]]
    assert sent[0] == CONTENT.root_key
    assert {*sent} == {key for key in CONTENT.objects if key.kind is ObjectKind.TREE}
    assert [b64decode(data) for _, data in answer["pages"]] == [CONTENT.objects[key] for key in sent]
    located = alice.ok("POST", "/v1/projects/vision/locate", {"keys": [str(key) for key in sent]})
    assert answer["places"] == located
    assert alice.refused("GET", f"/v1/projects/vision/trees/{'0' * 64}/pages") == (404, "path-not-found")


def test_a_digest_gives_nobody_the_bytes_of_another_project(
    server: Server, place: Place, alice: Caller, pack: str
) -> None:
    alice.ok("POST", "/v1/projects", {"name": "elsewhere", "visibility": "open"})
    mallory = server.caller(place.user("mallory"))
    pack_id = pack.rpartition("/")[2]
    assert mallory.refused("GET", pack) == (404, "project-not-found")
    assert mallory.refused("GET", f"/v1/projects/elsewhere/packs/{pack_id}") == (404, "path-not-found")
    assert mallory.refused("GET", f"/v1/projects/elsewhere/trees/{CONTENT.root.hex()}") == (404, "path-not-found")
    assert mallory.refused("GET", f"/v1/projects/elsewhere/trees/{CONTENT.root.hex()}/pages") == (404, "path-not-found")
    assert mallory.refused("GET", f"/v1/projects/vision/trees/{CONTENT.root.hex()}/pages") == (404, "project-not-found")
    keys = {"keys": [str(key) for key in CONTENT.objects]}
    assert mallory.ok("POST", "/v1/projects/elsewhere/locate", keys)["objects"] == [None] * len(CONTENT.objects)
    draft = Draft.open(mallory, "elsewhere")
    assert mallory.ok("POST", f"/v1/drafts/{draft.id}/missing", keys) == keys


def test_a_waiting_request_is_answered_within_200_ms_of_a_change(alice: Caller, server: Server) -> None:
    alice.ok("POST", "/v1/projects", {"name": "watched"})
    waiter = server.caller(alice.token)
    delays_s = []

    def wait_after(position: int) -> tuple[list[str], float]:
        changes = waiter.ok("GET", f"/v1/changes?after={position}&wait_s=20")["changes"]
        return [change["artifact"] for change in changes], time.monotonic()

    for n in range(5):
        position = alice.ok("GET", "/v1/changes")["position"]
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(wait_after, position)
            wait_until(lambda: "artfs_change_waiters 1.0" in alice("GET", "/metrics").text, "somebody waits")
            began_s = time.monotonic()
            alice.ok("POST", "/v1/projects/watched/artifacts", {"name": f"a{n}"})
            artifacts, ended_s = answer.result(30)
        assert artifacts == [f"a{n}"]
        delays_s.append(ended_s - began_s)
    assert sorted(delays_s)[2] < 0.2, delays_s


def test_waiting_ends_when_the_time_is_up(alice: Caller) -> None:
    position = alice.ok("GET", "/v1/changes")["position"]
    began_s = time.monotonic()
    assert alice.ok("GET", f"/v1/changes?after={position}&wait_s=1") == {"position": position, "changes": []}
    assert 0.9 < time.monotonic() - began_s < 10


def test_who_follows_a_registry_that_was_put_back_is_told_so(alice: Caller) -> None:
    position = alice.ok("GET", "/v1/changes")["position"]
    began_s = time.monotonic()
    for wait_s in (0, 20):
        told = alice.ok("GET", f"/v1/changes?after={position + 50}&wait_s={wait_s}")
        assert told == {"position": position, "changes": []}
    assert time.monotonic() - began_s < 10


def test_changes_of_hidden_projects_are_not_told(server: Server, place: Place, alice: Caller) -> None:
    eve = server.caller(place.user("eve"))
    position = alice.ok("GET", "/v1/changes")["position"]
    alice.ok("POST", "/v1/projects", {"name": "secret-plan"})
    assert eve.ok("GET", f"/v1/changes?after={position}")["changes"] == []
    seen = alice.ok("GET", f"/v1/changes?after={position}")["changes"]
    assert [change["project"] for change in seen] == ["secret-plan"]


def test_many_may_wait_at_once_and_others_are_served_meanwhile(alice: Caller, server: Server) -> None:
    position = alice.ok("GET", "/v1/changes")["position"]
    count = 40
    with ThreadPoolExecutor(count) as pool:
        path = f"/v1/changes?after={position}&wait_s=30"
        waiting = [pool.submit(server.caller(alice.token).ok, "GET", path) for _ in range(count)]
        wait_until(lambda: f"artfs_change_waiters {count}.0" in alice("GET", "/metrics").text, "all wait")
        alice.ok("GET", "/v1/projects")
        alice.ok("POST", "/v1/projects", {"name": "wake-up"})
        assert all(future.result(30)["changes"] for future in waiting)


def test_health_and_metrics_need_no_token_on_this_machine(server: Server) -> None:
    nobody = server.caller()
    assert nobody("GET", "/healthz").text == "ok\n"
    assert nobody("GET", "/readyz").text == "ok\n"
    assert 'artfs_requests_total{method="GET",path=' in nobody("GET", "/metrics").text


def test_metrics_are_not_for_strangers_behind_a_proxy(server: Server, place: Place, alice: Caller) -> None:
    through = {"X-Forwarded-For": "192.0.2.1"}
    assert server.caller().refused("GET", "/metrics", headers=through) == (401, "not-authenticated")
    assert server.caller(place.user("eve")).refused("GET", "/metrics", headers=through) == (404, "not-found")
    assert alice("GET", "/metrics", headers=through).status_code == 200


def test_a_request_id_is_given_back_and_made_up_if_need_be(alice: Caller) -> None:
    assert alice("GET", "/v1", headers={"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    made_up = alice("GET", "/v1", headers={"X-Request-Id": "not an id;"}).headers["X-Request-Id"]
    assert made_up
    assert made_up != "not an id;"


def test_the_access_log_has_a_line_for_each_request_without_secrets(server: Server, alice: Caller) -> None:
    secret = alice.ok("POST", "/v1/users/alice/tokens", {"name": "logged", "scopes": ["read"]})["secret"]
    alice("GET", f"/v1/projects/{secret}?x={secret}", headers={"X-Request-Id": secret[:60]})
    alice("GET", f"/v1/projects/vision?token={secret}", headers={"X-Request-Id": "the-line", "Cookie": secret})
    line = wait_until(
        lambda: next((one for one in server.access_lines if one["id"] == "the-line"), None), "it is logged"
    )
    assert line["path"] == "/v1/projects/vision"
    assert line["route"] == "/v1/projects/{project}"
    assert (line["user"], line["status"], line["method"]) == ("alice", 400, "GET")
    everything = (server.directory / "server.out").read_text() + server.log
    for token in (secret, alice.token):
        assert token.rpartition("_")[2] not in everything
        assert token[:60] not in everything


def test_a_public_project_is_read_by_everybody_and_written_by_members(server: Server, place: Place) -> None:
    reader, writer = server.caller(place.user("reader")), server.caller(place.user("writer"))
    place.project("shared", Visibility.PUBLIC, writer=Role.WRITER)
    pack_id = upload(writer, "shared", "data", CONTENT)
    assert reader("GET", f"/v1/projects/shared/packs/{pack_id}").status_code == 200
    assert reader.refused("POST", "/v1/projects/shared/drafts") == (403, "access-denied")
    draft = Draft.open(writer, "shared")
    assert reader.refused("PUT", draft.path("0" * 32), data=b"x" * 100) == (403, "access-denied")


def test_a_reader_that_takes_its_time_keeps_nobody_waiting(alice: Caller, server: Server) -> None:
    data = os.urandom(24 << 20)
    alice.ok("POST", "/v1/projects", {"name": "large"})
    pack_id = upload(alice, "large", "big", content_of({"big": data}, large_bytes=1 << 30))
    with server.caller(alice.token)("GET", f"/v1/projects/large/packs/{pack_id}", stream=True) as response:
        alice.ok("GET", "/v1/projects/large")
        assert data in response.content


def test_a_large_part_of_a_pack_is_sent_to_the_byte(alice: Caller, server: Server) -> None:
    data = random.Random(1).randbytes(12 << 20)
    alice.ok("POST", "/v1/projects", {"name": "parts"})
    content = content_of({"big": data}, large_bytes=1 << 30)
    pack = f"/v1/projects/parts/packs/{upload(alice, 'parts', 'big', content)}"
    whole = alice("GET", pack).content
    assert data in whole
    for begin, end in [(0, 9 << 20), (1_000_001, 1_300_000), (len(whole) - 300_000, len(whole))]:
        answer = alice("GET", pack, headers={"Range": f"bytes={begin}-{end - 1}"})
        assert (answer.status_code, answer.content) == (206, whole[begin:end])


def test_a_recipe_comes_with_the_chunks_of_a_part(alice: Caller, server: Server, place: Place) -> None:
    data = random.Random(2).randbytes(10 << 20)
    alice.ok("POST", "/v1/projects", {"name": "recipes"})
    content = content_of({"big": data}, large_bytes=1 << 20)
    upload(alice, "recipes", "big", content)
    (recipe,) = (key for key in content.objects if key.kind is ObjectKind.RECIPE)
    path = f"/v1/projects/recipes/recipes/{recipe.digest.hex()}"
    found = _told(alice("GET", f"{path}?offset={5 << 20}&length=100"))
    assert found[str(recipe)] == content.objects[recipe]
    wanted = decode_recipe(content.objects[recipe]).spans(5 << 20, 100)
    assert [*found][1:] == [str(ObjectKey(ObjectKind.CHUNK, span.digest)) for span in wanted]
    assert all(content.objects[ObjectKey.parse(name)] == stored for name, stored in found.items())
    whole = _told(alice("GET", f"{path}?offset=0&length={10 << 20}"))
    assert 1 < len(whole) <= 5
    assert [*_told(alice("GET", path))] == [str(recipe), *[*whole][1:2]]
    assert alice.refused("GET", f"/v1/projects/recipes/recipes/{'0' * 64}") == (404, "path-not-found")
    stranger = server.caller(place.user("stranger"))
    assert stranger.refused("GET", path) == (404, "project-not-found")


def _told(answer: requests.Response) -> dict[str, bytes]:
    """The objects in an answer about a recipe, by their names. All are stored as they are."""
    assert answer.status_code == 200
    at = 4 + int.from_bytes(answer.content[:4], "big")
    head = json.loads(answer.content[4:at])
    found = {}
    for name, place in zip(head["keys"], head["places"]["objects"], strict=True):
        found[name] = answer.content[at : at + place[4]]
        at += place[4]
    assert at == len(answer.content)
    return found
