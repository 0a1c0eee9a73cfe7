"""Guesses are slowed, more with each; who has a valid token is not."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from artfs.errors import NotAuthenticated, TooManyRequests
from artfs.model.access import Scope
from artfs.server.auth import Authenticator
from artfs.server.settings import ServerSettings
from artfs.wire.records import Identity, UserRecord

pytestmark = [pytest.mark.falsifies("access")]

ALICE = Identity(UserRecord("alice", admin=False, disabled=False, created_at_ns=0), [Scope.READ])
SETTINGS = ServerSettings(guesses_free=3, guess_delay_s=1.0, guess_delay_s_max=8.0)
VALID = "artfs_aaaa_11"


class World:
    """A clock, and a registry that knows one token and counts what it is asked."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.asked = 0
        self.valid = {VALID}
        self.authenticator = Authenticator(self.check, SETTINGS, lambda: self.now_s)

    async def check(self, token: str) -> Identity:
        self.asked += 1
        if token not in self.valid:
            raise NotAuthenticated("no")
        return ALICE

    async def ask(self, token: str, host: str = "192.0.2.1") -> Identity:
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        return await self.authenticator.identify(
            Request({"type": "http", "headers": headers, "client": (host, 1), "method": "GET", "path": "/"})
        )

    async def guess(self, count: int, token: str = "artfs_bbbb_22", host: str = "192.0.2.1") -> None:
        for _ in range(count):
            with pytest.raises(NotAuthenticated):
                await self.ask(token, host)

    async def refused_for_s(self, token: str, host: str = "192.0.2.1") -> float:
        with pytest.raises(TooManyRequests) as refused:
            await self.ask(token, host)
        return refused.value.retry_after_s


@pytest.fixture
def world() -> World:
    return World()


async def test_a_valid_token_is_looked_up_once_in_a_while(world: World) -> None:
    for _ in range(5):
        assert await world.ask(VALID) is ALICE
    assert world.asked == 1
    world.now_s += SETTINGS.token_life_s + 0.1
    await world.ask(VALID)
    assert world.asked == 2


async def test_a_revoked_token_is_believed_no_longer_than_its_life(world: World) -> None:
    await world.ask(VALID)
    world.valid.clear()
    world.now_s += SETTINGS.token_life_s + 0.1
    with pytest.raises(NotAuthenticated):
        await world.ask(VALID)


async def test_the_delay_grows_with_each_guess_up_to_a_bound(world: World) -> None:
    await world.guess(3)
    delays = []
    for _ in range(6):
        delays.append(await world.refused_for_s("artfs_bbbb_22"))
        world.now_s += delays[-1] + 0.01
        await world.guess(1)
    assert delays == [pytest.approx(s) for s in (1, 2, 4, 8, 8, 8)]


async def test_a_refused_guess_asks_the_registry_nothing(world: World) -> None:
    await world.guess(3)
    asked = world.asked
    await world.refused_for_s("artfs_cccc_33")
    assert world.asked == asked


async def test_guesses_from_elsewhere_keep_out_nobody_and_an_absent_token_counts_like_a_wrong_one(world: World) -> None:
    await world.guess(3, token="")
    assert await world.refused_for_s("")
    assert await world.ask(VALID, "192.0.2.2") is ALICE


async def test_guesses_at_one_tokens_secret_are_slowed_wherever_they_come_from(world: World) -> None:
    for n in range(3):
        await world.guess(1, "artfs_aaaa_22", f"192.0.2.{n}")
    assert await world.refused_for_s("artfs_aaaa_23", "192.0.2.9")


async def test_who_was_let_in_before_stays_in_while_others_guess_from_the_same_address(world: World) -> None:
    await world.ask(VALID)
    await world.guess(3, "artfs_aaaa_22")
    world.now_s += SETTINGS.token_life_s + 0.1
    await world.guess(1, "artfs_aaaa_22")
    assert await world.ask(VALID) is ALICE


async def test_addresses_of_one_ipv6_network_are_one_guesser(world: World) -> None:
    for n in range(3):
        await world.guess(1, f"artfs_{n:04}_22", f"2001:db8::{n + 1}")
    assert await world.refused_for_s("artfs_9999_22", "2001:db8::ffff")
    assert await world.ask(VALID, "2001:db8:1::1") is ALICE


async def test_guesses_are_forgotten(world: World) -> None:
    await world.guess(3)
    world.now_s += SETTINGS.guess_memory_s + 1
    await world.guess(2)
