"""Logging in to a server: what is checked, what is kept, and where a token never shows."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from tests.acceptance.team import Server, Team
from tests.acceptance.user import ARTFS

pytestmark = [pytest.mark.falsifies("access")]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return Team(tmp_path_factory.mktemp("team"), {})


@pytest.fixture(scope="module")
def server(team: Team) -> Iterator[Server]:
    with team.serving() as running:
        yield running


def test_a_wrong_token_is_not_kept(team: Team, server: Server) -> None:
    eve = team.at_home("eve", server.url, login=False)
    file = team.directory / "wrong.token"
    file.write_text("artfs_0000_wrong")
    refused = eve.run("login", server.url, "--token-file", file, code=5)
    assert "artfs_0000_wrong" not in refused.stdout + refused.stderr
    assert "does not accept this token" in refused.stderr
    assert "artfs login" not in refused.stderr
    assert not (eve.home / ".config/artfs/credentials.json").exists()


def test_login_logout_and_who_one_is(team: Team, server: Server) -> None:
    ann = team.user("ann", server.url)
    kept = ann.home / ".config/artfs/credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    told = ann.json("whoami")
    assert (told["user"], told["admin"], told["scopes"]) == ("ann", False, ["read", "write"])
    ann.run("logout", server.url)
    assert "login" in ann.run("whoami", code=5).stderr


def test_a_token_comes_from_the_standard_input_and_makes_the_server_the_default(team: Team, server: Server) -> None:
    bob = team.user("bob", server.url, login=False)
    (bob.home / ".config/artfs").mkdir(parents=True)
    config = bob.home / ".config/artfs/config.toml"
    config.write_text('# mine\ncache_size = "1GB"\nregistry = "/old"  # before\n')
    token = team.token("bob").read_text()
    environment = {name: value for name, value in bob.environment().items() if name != "ARTFS_REGISTRY"}
    subprocess.run(
        [ARTFS, "login", server.url, "--default"], env=environment, input=token, text=True, check=True, timeout=60
    )
    assert config.read_text() == f'# mine\ncache_size = "1GB"\nregistry = "{server.url}"\n'
    told = subprocess.run([ARTFS, "whoami"], env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.startswith("bob at")


def test_the_certificates_of_a_server_that_becomes_the_default_are_kept(team: Team, server: Server) -> None:
    eli = team.user("eli", server.url, login=False)
    token, config = team.token("eli"), eli.home / ".config/artfs/config.toml"
    certificates = team.directory / "ca.pem"
    certificates.write_bytes(Path(certifi.where()).read_bytes())
    told = eli.run("login", server.url, "--token-file", token, "--ca-file", certificates)
    assert "ca_file" in told.stdout
    assert not config.exists()
    eli.run("login", server.url, "--token-file", token, "--ca-file", certificates, "--default")
    assert f'ca_file = "{certificates}"\n' in config.read_text()


def test_a_token_is_in_no_file_but_the_credentials_and_in_no_output(team: Team, server: Server) -> None:
    carl = team.user("carl", server.url)
    token = team.token("carl")
    secret = token.read_text().strip()
    carl.run("login", server.url, "--token-file", token)
    said = [carl.run("-vv", *words, code=None) for words in (["whoami"], ["ls"], ["ls", "nothing"], ["doctor"])]
    assert all(secret not in done.stdout + done.stderr for done in said)
    token.unlink()
    holders = [
        file
        for file in team.directory.rglob("*")
        if file.is_file() and not file.is_symlink() and secret.encode() in file.read_bytes()
    ]
    assert holders == [carl.home / ".config/artfs/credentials.json"]


def test_a_server_that_is_not_there_is_named(team: Team, tmp_path: Path) -> None:
    dan = team.at_home("dan", "http://127.0.0.1:1", login=False)
    token = tmp_path / "token"
    token.write_text("artfs_0000_x")
    failed = dan.run("login", "http://127.0.0.1:1", "--token-file", token, code=7)
    assert "127.0.0.1:1" in failed.stderr
    assert "Traceback" not in failed.stderr
