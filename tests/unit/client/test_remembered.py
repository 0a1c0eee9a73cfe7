"""Which answers are kept when questions, changes and writes overlap, and when a registry is asked at all."""

from __future__ import annotations

import pytest

from artfs.client.remembered.answers import Answers
from artfs.client.remembered.question import Kind, Question, concerns
from artfs.client.remembered.reachability import DOUBT_S, RETRY_S, WAITING_MAX, Reachability
from artfs.errors import ArtifactNotFound, NotFound, RegistryUnavailable
from artfs.model.digest import Digest
from artfs.wire.records import Change, VersionRecord

pytestmark = [pytest.mark.falsifies("one-version")]

LATEST = Question(Kind.VERSION, "p", "a", "latest")
ALIASES = Question(Kind.ALIASES, "p", "a")
VERSIONS = Question(Kind.VERSIONS, "p", "a")
MOVED = Change(7, "alias", "p", "a", "latest")


def version(number: int) -> VersionRecord:
    return VersionRecord("p", "a", number, Digest.of(b"%d" % number), "dataset", "", {}, 1, 1, 1, "me", [])


def told(answers: Answers, question: Question) -> object:
    answer = answers.get(question)
    return None if answer is None else answer.value


def learn(answers: Answers, question: Question, value: object, *, covered: bool = True) -> bool:
    return answers.learn(answers.begin(question, 1.0, is_covered=covered), value)


def test_an_answer_overtaken_by_a_change_is_not_kept() -> None:
    answers = Answers()
    ticket = answers.begin(LATEST, 1.0, is_covered=True)
    answers.outdate([MOVED])
    assert not answers.learn(ticket, version(1))
    assert told(answers, LATEST) is None


def test_an_answer_overtaken_by_an_own_write_is_not_kept() -> None:
    answers = Answers()
    ticket = answers.begin(LATEST, 1.0, is_covered=True)
    answers.forget(MOVED)
    assert not answers.learn(ticket, version(1))
    assert told(answers, LATEST) is None


def test_of_two_answers_under_way_together_neither_can_undo_the_other() -> None:
    """Nobody knows which of them is the newer one."""
    answers = Answers()
    first = answers.begin(LATEST, 1.0, is_covered=True)
    second = answers.begin(LATEST, 1.0, is_covered=True)
    assert answers.learn(second, version(2))
    assert not answers.learn(first, version(1))
    assert told(answers, LATEST) is None


def test_a_change_makes_answers_old_and_an_own_write_removes_them() -> None:
    answers = Answers()
    learn(answers, LATEST, version(1))
    answers.outdate([MOVED])
    answer = answers.get(LATEST)
    assert answer is not None
    assert not answer.is_covered
    answers.forget(MOVED)
    assert answers.get(LATEST) is None


def test_a_newer_meaning_of_an_alias_removes_the_list_that_says_otherwise() -> None:
    answers = Answers()
    learn(answers, ALIASES, {"latest": 1})
    learn(answers, VERSIONS, [version(1)])
    learn(answers, LATEST, version(2))
    assert told(answers, ALIASES) is None
    assert told(answers, VERSIONS) is None
    learn(answers, ALIASES, {"latest": 3})
    assert answers.get(LATEST._replace(name="v2")) is None
    assert told(answers, LATEST) is None


def test_answers_that_agree_stay() -> None:
    answers = Answers()
    learn(answers, ALIASES, {"latest": 1})
    learn(answers, LATEST, version(1))
    learn(answers, ALIASES, {"latest": 1, "best": 0})
    assert told(answers, LATEST) == version(1)
    assert told(answers, ALIASES) == {"latest": 1, "best": 0}


def test_what_was_not_there_is_only_believed_while_it_is_current() -> None:
    answers = Answers()
    question = Question(Kind.ARTIFACT, "p", "new")
    learn(answers, question, ArtifactNotFound("none"))
    assert isinstance(told(answers, question), NotFound)
    answers.outdate_all()
    assert answers.get(question) is None


def test_a_version_follows_from_both_lists_and_is_as_old_as_the_older_one() -> None:
    answers = Answers()
    learn(answers, VERSIONS, [version(0), version(1)])
    assert answers.get(LATEST) is None
    learn(answers, ALIASES, {"latest": 1}, covered=False)
    answer = answers.get(LATEST)
    assert answer is not None
    assert answer.value == version(1)
    assert not answer.is_covered


@pytest.mark.parametrize(
    ("kind", "artifact", "concerned"),
    [
        ("project", "", {"projects", "project", "artifacts", "artifact", "versions"}),
        ("artifact", "a", {"artifacts", "artifact", "versions"}),
        ("version", "a", {"artifacts", "artifact", "versions"}),
        ("alias", "a", {"artifacts", "artifact", "versions"}),
        ("alias", "b", {"artifacts"}),
    ],
)
def test_a_change_concerns_what_it_may_have_changed(kind: str, artifact: str, concerned: set[str]) -> None:
    questions = [
        Question(Kind.PROJECTS),
        Question(Kind.PROJECT, "p"),
        Question(Kind.ARTIFACTS, "p"),
        Question(Kind.ARTIFACT, "p", "a"),
        Question(Kind.VERSIONS, "p", "a"),
        Question(Kind.ARTIFACTS, "q"),
        Question(Kind.VERSIONS, "q", "a"),
    ]
    change = Change(1, kind, "p", artifact)
    found = [question for question in questions if concerns(change, question)]
    assert {question.kind.value for question in found} == concerned
    assert all(question.project in ("p", "") for question in found)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_registry_that_answers_slowly_is_still_asked() -> None:
    clock = Clock()
    reach = Reachability(monotonic_s=clock)
    with reach.call():
        clock.now_s += DOUBT_S / 2
        reach.refuse()
        assert not reach.is_doubtful


def test_only_few_calls_wait_for_a_registry_that_gives_no_sign() -> None:
    clock = Clock()
    reach = Reachability(monotonic_s=clock)
    waiting = [reach.call() for _ in range(WAITING_MAX)]
    for call in waiting:
        reach.refuse()
        call.__enter__()
    clock.now_s += DOUBT_S + 1
    doubts = [reach.is_doubtful]
    with pytest.raises(RegistryUnavailable):
        reach.refuse()
    waiting[0].__exit__(None, None, None)
    reach.refuse()
    doubts.append(reach.is_doubtful)
    assert doubts == [True, False]
    waiting[1].__exit__(None, None, None)


def test_a_registry_that_is_down_is_tried_by_one_at_a_time_and_an_answer_ends_it() -> None:
    clock = Clock()
    reach = Reachability(monotonic_s=clock)
    with pytest.raises(RegistryUnavailable), reach.call():
        raise RegistryUnavailable("gone")
    with pytest.raises(RegistryUnavailable, match="gone"):
        reach.refuse()
    clock.now_s += RETRY_S
    reach.refuse()
    with reach.call():
        with pytest.raises(RegistryUnavailable, match="gone"):
            reach.refuse()
    assert not reach.is_down
    reach.refuse()


def test_an_error_that_the_registry_itself_tells_is_an_answer() -> None:
    reach = Reachability(monotonic_s=Clock())
    with pytest.raises(RegistryUnavailable), reach.call():
        raise RegistryUnavailable("gone")
    with pytest.raises(NotFound), reach.call():
        raise NotFound("no such thing")
    assert not reach.is_down
    assert reach.status()["last_error"] == "gone"
