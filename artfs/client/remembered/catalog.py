"""Answering questions about the catalog: from memory while that is known to be current, by asking, or from memory again when
the registry is out of reach.

Decides which of the three. What was denied is never remembered, and removes what was known before; so does a project that
is not there, or not shown, any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from artfs.client.remembered.answer_file import AnswerFile
from artfs.client.remembered.answers import Answer, Answers
from artfs.client.remembered.feed import FollowedChanges
from artfs.client.remembered.question import Kind, Question, absent
from artfs.client.remembered.reachability import Reachability
from artfs.errors import AccessDenied, NotFound, ProjectNotFound, Unavailable
from artfs.vfs.ports import NotRemembered
from artfs.wire.records import ArtifactRecord, Change, ProjectRecord, VersionRecord

CURRENT_S_MAX = 60.0  # even what no change concerned is asked for again: what a caller may read changes without one
NEGATIVE_S_MAX = 5.0  # the same for what was not there

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class RememberedCatalog:
    """Asks and remembers. Safe from any thread."""

    def __init__(
        self,
        answers: Answers,
        file: AnswerFile,
        feed: FollowedChanges,
        reachability: Reachability,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers = answers
        self._file = file
        self._feed = feed
        self._reachability = reachability
        self._clock_ns = clock_ns
        self._monotonic_s = monotonic_s
        self._is_loaded = False
        self.loaded: list[Question] = []  # what earlier processes asked, the latest last
        self._is_outage_logged = False
        self._uids: dict[str, bytes] = {}  # of the projects met, as settled in the file
        self.remembered_count = 0  # answers given without asking; approximate

    def ask(self, question: Question, call: Callable[[], _T]) -> _T:
        """The answer, from `call` unless it is known. Raises what `call` raises."""
        answer = self._answers.get(question)
        if answer is not None and self._is_good(answer):
            return cast(_T, self._told(question, answer))
        try:
            self._reachability.refuse()
            return self._ask_now(question, call)
        except Unavailable as error:  # also of a server that says that its storage fails, or that it has too much to do
            answer = self._known(question)
            if answer is None:
                raise
            if not self._is_outage_logged:
                self._is_outage_logged = True
                _log.warning("%s; telling what was there when it was last asked", error.message)
            return cast(_T, self._told(question, answer))

    def peek(self, question: Question) -> Any:
        """The answer if it need not be asked for. Never blocks. Raises NotRemembered, and NotFound if it is that."""
        answer = self._answers.get(question)
        if answer is None or not self._is_good(answer):
            raise NotRemembered(str(question))
        return self._told(question, answer)

    def forget(self, change: Change) -> None:
        """This process made such a change, or may have."""
        self._answers.forget(change)
        self._file.forget(change)

    def load(self) -> None:
        """Read what earlier processes remembered, once."""
        if not self._is_loaded:
            self._is_loaded = True
            for question, value in self._file.load():
                self._answers.restore(question, value)
                self.loaded.append(question)

    def _is_good(self, answer: Answer) -> bool:
        """Whether to give this answer rather than ask."""
        if answer.is_covered and self._feed.is_live:
            limit_s = NEGATIVE_S_MAX if answer.is_negative else CURRENT_S_MAX
            if self._monotonic_s() - answer.asked_s < limit_s:
                return True
        return self._reachability.is_doubtful and self._feed.is_covering  # whoever follows tries to reach it

    def _known(self, question: Question) -> Answer | None:
        self.load()
        return self._answers.get(question)

    def _told(self, question: Question, answer: Answer) -> Any:
        self.remembered_count += 1
        if answer.is_negative:
            raise absent(question)
        return answer.value

    def _ask_now(self, question: Question, call: Callable[[], _T]) -> _T:
        ticket = self._answers.begin(question, self._monotonic_s(), is_covered=self._feed.is_covering)
        asked_at_ns = self._clock_ns()
        try:
            with self._reachability.call():
                value = call()
        except NotFound as error:
            if isinstance(error, ProjectNotFound):  # or one that is no longer shown to this caller
                self.forget(Change(0, "project", question.project))
            if self._answers.learn(ticket, error):
                self._file.remove(question)
            raise
        except AccessDenied:
            self.forget(Change(0, "project", question.project))
            raise
        finally:
            self._answers.give_up(ticket)
        self._is_outage_logged = False
        self._learn(question, value, asked_at_ns, ticket_kept=self._answers.learn(ticket, value))
        return value

    def _learn(self, question: Question, value: Any, asked_at_ns: int, *, ticket_kept: bool) -> None:
        for project in value if question.kind is Kind.PROJECTS else [value] if question.kind is Kind.PROJECT else []:
            if self._uids.get(project.name) != project.uid:
                self._uids[project.name] = project.uid
                self._file.settle_project(project.name, project.uid)
        if ticket_kept:
            self._file.keep(question, value, asked_at_ns)


class KnownCatalog:
    """A `vfs.ports.Catalog` of what is known without asking. Every method raises NotRemembered, and NotFound."""

    def __init__(self, catalog: RememberedCatalog) -> None:
        self._peek = catalog.peek

    def projects(self) -> list[ProjectRecord]:
        return cast(list[ProjectRecord], self._peek(Question(Kind.PROJECTS)))

    def project(self, project: str) -> ProjectRecord:
        return cast(ProjectRecord, self._peek(Question(Kind.PROJECT, project)))

    def artifacts(self, project: str) -> list[ArtifactRecord]:
        return cast(list[ArtifactRecord], self._peek(Question(Kind.ARTIFACTS, project)))

    def artifact(self, project: str, artifact: str) -> ArtifactRecord:
        return cast(ArtifactRecord, self._peek(Question(Kind.ARTIFACT, project, artifact)))

    def versions(self, project: str, artifact: str) -> list[VersionRecord]:
        return cast(list[VersionRecord], self._peek(Question(Kind.VERSIONS, project, artifact)))

    def version(self, project: str, artifact: str, selector: str, as_of: int | None) -> VersionRecord:
        return cast(VersionRecord, self._peek(Question(Kind.VERSION, project, artifact, selector, as_of)))

    def aliases(self, project: str, artifact: str, as_of: int | None) -> dict[str, int]:
        return cast(dict[str, int], self._peek(Question(Kind.ALIASES, project, artifact, "", as_of)))
