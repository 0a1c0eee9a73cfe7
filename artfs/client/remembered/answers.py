"""Answers in memory: bounded, and each known to be current or not.

An answer is current while the registry's changes are followed and none concerned it since it was asked for. Two rules keep
a name from going back to an older meaning: an answer that was overtaken while it was under way (by a change, by a write of
this process, by another answer to the same question) is not kept; and an answer that contradicts another of the same
artifact removes that one. Owner of everything here: its lock, which is never held during I/O.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from artfs.client.remembered.question import Kind, Question, concerns, size_of
from artfs.errors import NotFound
from artfs.model.names import parse_version
from artfs.wire.records import Change

RECORDS_MAX = 50_000  # about 1 KB each


@dataclass(frozen=True, slots=True)
class Answer:
    """`value` is a record, list or dict, or the NotFound that the registry raised.

    Attributes:
        asked_s: when, on the monotonic clock.
        is_covered: every change since would have been noticed.
    """

    value: Any
    asked_s: float
    is_covered: bool

    @property
    def is_negative(self) -> bool:
        return isinstance(self.value, NotFound)


class Ticket:
    """A question under way. `overtaken`: what comes back may be old news."""

    __slots__ = ("asked_s", "is_covered", "overtaken", "question")

    def __init__(self, question: Question, asked_s: float, is_covered: bool) -> None:
        self.question = question
        self.asked_s = asked_s
        self.is_covered = is_covered
        self.overtaken = False


class Answers:
    """Answers by question, least recently used first out."""

    def __init__(self, records_max: int = RECORDS_MAX) -> None:
        self._records_max = records_max
        self._lock = threading.Lock()
        self._held: OrderedDict[Question, Answer] = OrderedDict()
        self._by_project: defaultdict[str, set[Question]] = defaultdict(set)
        self._records = 0
        self._under_way: set[Ticket] = set()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, question: Question) -> Answer | None:
        """The answer, also one that follows from a list which is held."""
        with self._lock:
            answer = self._held.get(question)
            if answer is not None:
                self._held.move_to_end(question)
            if answer is None or (answer.is_negative and not answer.is_covered):
                return self._from_lists(question)
            return answer

    def begin(self, question: Question, asked_s: float, *, is_covered: bool) -> Ticket:
        ticket = Ticket(question, asked_s, is_covered)
        with self._lock:
            self._under_way.add(ticket)
        return ticket

    def give_up(self, ticket: Ticket) -> None:
        with self._lock:
            self._under_way.discard(ticket)

    def learn(self, ticket: Ticket, value: Any) -> bool:
        """The registry answered. Returns whether the answer is kept."""
        question = ticket.question
        with self._lock:
            self._under_way.discard(ticket)
            if ticket.overtaken:
                self._remove(question)
                return False
            for other in self._under_way:
                if other.question == question:
                    other.overtaken = True
            self._store(question, Answer(value, ticket.asked_s, ticket.is_covered))
            for outdated in self._contradicted(question, value):
                self._remove(outdated)
            return True

    def restore(self, question: Question, value: Any) -> None:
        """An answer that an earlier process was given: not current, but better than none."""
        with self._lock:
            if question not in self._held:
                self._store(question, Answer(value, 0.0, False))

    def forget(self, change: Change) -> None:
        """This process changed something: what was known of it must not be told again, whatever happens."""
        with self._lock:
            self._overtake(change)
            for question in self._concerned(change):
                self._remove(question)

    def outdate(self, changes: Iterable[Change]) -> None:
        """Somebody changed something: what is known of it is no longer current."""
        with self._lock:
            for change in dict.fromkeys(Change(0, c.kind, c.project, c.artifact) for c in changes):
                self._overtake(change)
                self._uncover(self._concerned(change))

    def outdate_all(self) -> None:
        """Changes may have been missed."""
        with self._lock:
            for ticket in self._under_way:
                ticket.is_covered = False
            self._uncover(list(self._held))

    def _uncover(self, questions: Iterable[Question]) -> None:
        for question in questions:
            answer = self._held[question]
            self._held[question] = Answer(answer.value, answer.asked_s, False)

    def _overtake(self, change: Change) -> None:
        for ticket in self._under_way:
            if concerns(change, ticket.question):
                ticket.overtaken = True

    def _concerned(self, change: Change) -> list[Question]:
        nearby = self._by_project[change.project] | self._by_project[""]
        return [question for question in nearby if concerns(change, question)]

    def _store(self, question: Question, answer: Answer) -> None:
        self._remove(question)
        size = size_of(answer.value)
        if size > self._records_max:
            return
        self._held[question] = answer
        self._by_project[question.project].add(question)
        self._records += size
        while self._records > self._records_max:
            self._remove(next(iter(self._held)))

    def _remove(self, question: Question) -> None:
        answer = self._held.pop(question, None)
        if answer is not None:
            self._records -= size_of(answer.value)
            nearby = self._by_project[question.project]
            nearby.discard(question)
            if not nearby:
                del self._by_project[question.project]

    def _from_lists(self, question: Question) -> Answer | None:
        if question.kind is Kind.PROJECT:
            return self._member(Question(Kind.PROJECTS), lambda record: record.name == question.project)
        if question.kind is Kind.ARTIFACT:
            listed = Question(Kind.ARTIFACTS, question.project)
            return self._member(listed, lambda record: record.name == question.artifact)
        if question.kind is not Kind.VERSION:
            return None
        versions = Question(Kind.VERSIONS, question.project, question.artifact)
        number = parse_version(question.name)
        if number is not None:
            return self._member(versions, lambda record: record.number == number)
        aliases = self._held.get(versions._replace(kind=Kind.ALIASES, as_of=question.as_of))
        if aliases is None or aliases.is_negative:
            return None
        number = aliases.value.get(question.name)
        if number is None:
            return Answer(NotFound(""), aliases.asked_s, aliases.is_covered)
        found = self._member(versions, lambda record: record.number == number)
        if found is None or found.is_negative:
            return None
        return Answer(found.value, min(found.asked_s, aliases.asked_s), found.is_covered and aliases.is_covered)

    def _member(self, listed: Question, is_it: Callable[[Any], bool]) -> Answer | None:
        answer = self._held.get(listed)
        if answer is None or answer.is_negative:
            return None
        found = next((record for record in answer.value if is_it(record)), NotFound(""))
        return Answer(found, answer.asked_s, answer.is_covered)

    def _contradicted(self, question: Question, value: Any) -> list[Question]:
        """Answers that cannot be true if this one is: they are older."""
        artifact = Question(Kind.ALIASES, question.project, question.artifact)
        if question.is_alias:
            aliases = self._held.get(artifact)
            number = None if isinstance(value, NotFound) else value.number
            agrees = aliases is None or aliases.is_negative or aliases.value.get(question.name) == number
            return [] if agrees else [artifact, artifact._replace(kind=Kind.VERSIONS)]
        if question.kind is not Kind.ALIASES or question.as_of is not None:
            return []
        aliases_now = {} if isinstance(value, NotFound) else value
        return [
            other
            for other in self._by_project[question.project]
            if other.is_alias
            and other.artifact == question.artifact
            and _number(self._held[other]) != aliases_now.get(other.name)
        ]


def _number(answer: Answer) -> int | None:
    return None if answer.is_negative else answer.value.number
