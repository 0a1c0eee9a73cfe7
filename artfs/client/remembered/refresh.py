"""Asking again, when a mount begins, what was asked for last time: whoever mounts mostly goes where they went before.

Names are asked for one below the other, so a path that is remembered costs one round trip instead of one a name. A few small
questions, all at once, in threads that nothing waits for. What they answer is current as any other answer.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable

from artfs.client.remembered.question import Kind, Question
from artfs.errors import ArtfsError
from artfs.model.digest import Digest
from artfs.wire.service import Artifacts, Projects, Versions

QUESTIONS_MAX = 6
_KINDS = (Kind.PROJECT, Kind.ARTIFACT, Kind.VERSION)
_log = logging.getLogger(__name__)

Met = Callable[[str, Digest], None]
"""Told the project and root of each version that is there."""


class Refresh:
    """Args:
    projects, artifacts, versions: ask and remember.
    """

    def __init__(self, projects: Projects, artifacts: Artifacts, versions: Versions) -> None:
        self._projects = projects
        self._artifacts = artifacts
        self._versions = versions
        self.met: Met = lambda project, digest: None

    def begin(self, remembered: Iterable[Question]) -> None:
        """Ask the latest of these (the last is the latest) again."""
        for question in latest(remembered):
            threading.Thread(target=self._ask, args=(question,), name="artfs-refresh", daemon=True).start()

    def _ask(self, question: Question) -> None:
        try:
            if question.kind is Kind.PROJECT:
                self._projects.get(question.project)
            elif question.kind is Kind.ARTIFACT:
                self._artifacts.get(question.project, question.artifact)
            else:
                version = self._versions.resolve(question.project, question.artifact, question.name)
                self.met(question.project, version.digest)
        except ArtfsError as error:  # whoever asks is told
            _log.debug("%s is not asked ahead: %s", question, error)


def latest(remembered: Iterable[Question]) -> list[Question]:
    """The latest questions about single things. Pure."""
    asked = (question for question in remembered if question.kind in _KINDS and question.as_of is None)
    return list(deque(asked, QUESTIONS_MAX))
