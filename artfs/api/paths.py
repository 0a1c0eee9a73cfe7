"""What users write to name a version, an artifact or a run: with or without entity, project and alias. Pure.

An entity stands for the server, which has one space of projects: it is read, and dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from artfs.errors import InvalidName
from artfs.model.lineage import RunRef
from artfs.model.names import LATEST, NAME_BYTES_MAX, check_alias, check_name, parse_version

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_CUT_MARK = "_"


@dataclass(frozen=True, slots=True)
class VersionPath:
    """A version by its number or an alias."""

    project: str
    artifact: str
    selector: str

    @classmethod
    def parse(cls, text: str, project: str) -> VersionPath:
        """Read `[[entity/]project/]name[:alias]`; `project` is for what names none, `latest` for what names no alias.

        Raises InvalidName.
        """
        path, _, selector = text.partition(":")
        project, artifact = artifact_path(path, project)
        if selector and parse_version(selector) is None:
            check_alias(selector)
        return cls(project, artifact, selector or LATEST)


def artifact_path(text: str, project: str) -> tuple[str, str]:
    """Project and artifact of `[[entity/]project/]name`."""
    *above, artifact = text.strip("/").split("/")
    if len(above) > 2:
        raise InvalidName(f"{text!r} does not name an artifact", hint="write project/name")
    if len(above) == 2:
        check_name("entity", above[0])
    return check_name("project", above[-1]) if above else project, check_name("artifact", artifact)


def run_path(text: str, project: str) -> RunRef:
    """`[[entity/]project/]id`, of a run or a sweep."""
    return RunRef.parse(text if "/" in text.strip("/") else f"{project}/{text}")


def project_path(text: str | None, project: str) -> str:
    """`[entity/]project`, or `project` for nothing."""
    if not text:
        return project
    *above, name = text.strip("/").split("/")
    if len(above) > 1:
        raise InvalidName(f"{text!r} does not name a project", hint="write a project's name")
    return check_name("project", name)


def valid_name(text: str) -> str:
    """`text` as a name of artifacts; of a long one the middle is left out, since its end tells most."""
    name = _NOT_IN_NAMES.sub("_", text)
    if name.startswith((".", "-")):
        name = f"_{name[1:]}"
    if len(name) > NAME_BYTES_MAX:
        half = (NAME_BYTES_MAX - len(_CUT_MARK)) // 2
        name = name[:half] + _CUT_MARK + name[-half:]
    return name or "_"
