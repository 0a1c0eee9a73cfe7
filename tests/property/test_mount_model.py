"""Random histories of two mounts and of the API against a model in plain Python.

After every step all that both mounts show, by listing and by looking up each name, is what the model says; names that it does
not have are not found. The same histories run on `artfs.vfs` alone and on real mounts.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from artfs.registry.embedded import EmbeddedRegistry
from tests.contract.uploading import Tree, commit
from tests.mount.mounting import Machine
from tests.property.mount_model import MountModel
from tests.property.mount_nodes import (
    EXCHANGE,
    LATEST,
    NOREPLACE,
    STAGING,
    Artifact,
    Directory,
    File,
    Link,
    Names,
    Seen,
    directory_of,
    walk,
)
from tests.property.shown_mounts import BareMount, RealMount, Shown
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("model", "whole", "read-only", "posix")]

SEEN_S = 5.0  # twice what is promised and more: how soon others' changes are seen is measured elsewhere
MOUNTS = (0, 1)
PROJECTS, ARTIFACTS, DRAFTS = ("p", "q"), ("a", "b"), ("d", "e")
ALIASES = ("best", "good", LATEST)
FILES = ("x", "y", "z")
DRAFT = ("p", "a", STAGING, "d")
TREES: list[Tree] = [{}, {"x": b"1"}, {"x": b"1", "y": {"z": b"2", "x": "z"}}, {"z": {"y": {"x": b"deep"}}, "y": b""}]

mounts = st.sampled_from(MOUNTS)
places = st.tuples(st.sampled_from(("p", "p", "q")), st.sampled_from(("a", "a", "b")))
below = st.lists(st.sampled_from(FILES), min_size=1, max_size=3).map(tuple)
drafts = st.builds(lambda place, name: (*place, STAGING, name), places, st.sampled_from(("d", "d", "e")))
in_drafts = st.builds(lambda draft, rest: (*draft, *rest), drafts, below)
roots = st.builds(
    lambda place, name: (*place, name), places, st.sampled_from((*ALIASES, "v0", "v1", "v2", STAGING, "nothing"))
)
in_versions = st.builds(lambda root, rest: (*root, *rest), roots, below)
catalog = st.one_of(st.sampled_from(PROJECTS).map(lambda name: (name,)), places, roots, drafts)
anywhere = st.one_of(in_drafts, in_drafts, in_versions, catalog)
contents = st.sampled_from((b"", b"1", b"2", b"longer than the others", bytes(range(256)) * 300))
whiches = st.integers(0, 30)
new_names = st.sampled_from((*ALIASES, "new", "v0", "v7", ".hidden", "-dash", "ü", STAGING))


class World(Protocol):
    """What a history acts on besides the mounts, made once for many histories."""

    registry: EmbeddedRegistry
    shown: list[Shown]
    settle_s: float  # how long others' changes may take to be seen


class MountMachine(RuleBasedStateMachine):
    """Acts on two mounts, on their registry and on the model, and compares. Projects have names of their own in each history."""

    on: World
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        self.model = MountModel()
        self.tag = f"-{next(self.numbers)}"
        self.acted = 0  # the mount that acted last sees what it did at once

    def real(self, path: Names) -> Names:
        return (path[0] + self.tag, *path[1:]) if path and path[0] in PROJECTS else path

    @initialize(tree=st.sampled_from(TREES), other=st.booleans(), rich=st.booleans())
    def begin(self, tree: Tree, other: bool, rich: bool) -> None:
        for path in (("p",), ("p", "a"), DRAFT):
            self.both("mkdir", 0, path)
        self.commit_by_api(("p", "a"), tree, "best")
        if rich:
            self._commit_everything()
            self.both("mkdir", 0, DRAFT)
        if other:
            self.both("mkdir", 0, ("q",))
            self.both("mkdir", 0, ("q", "b"))

    def _commit_everything(self) -> None:
        """A version with one of each thing that versions keep."""
        self.both("mkdir", 0, (*DRAFT, "y"))
        for path in ((*DRAFT, "x"), (*DRAFT, "y", "z")):
            self.both("write", 0, path, data=b"attributes")
        for path in ((*DRAFT, "x"), (*DRAFT, "y")):
            self.both("set_xattr", 0, path, name="user.a", value=b"1")
        self.both("chmod", 0, (*DRAFT, "y", "z"), mode=0o755)
        self.both("symlink", 0, (*DRAFT, "z"), target="y/z")
        self.both("rename", 0, DRAFT, ("p", "a", "good"), flags=0)

    def both(self, call: str, mount: int, *paths: Names, **more: object) -> bool:
        """Make a call on the model and on a mount; whether it was answered, or else refused by both with one errno."""
        wanted = _errno(partial(getattr(self.model, call), mount, *paths, **more))
        got = _errno(partial(getattr(self.on.shown[mount], call), *map(self.real, paths), **more))
        assert got == wanted, f"{call} {paths} {more}: {_name(got)} instead of {_name(wanted)}"
        self.acted = mount
        return not wanted

    def followed(self, mount: int, *paths: Names) -> bool:
        return any(self.model.through_link(mount, path) for path in paths)

    def is_link(self, mount: int, path: Names) -> bool:
        try:
            found = self.model.find(mount, path)
        except OSError:
            return False
        return found is not None and isinstance(found.node, Link)

    # --- through a mount

    @rule(mount=mounts, path=st.one_of(catalog, anywhere))
    def mkdir(self, mount: int, path: Names) -> None:
        if not self.followed(mount, path):
            self.both("mkdir", mount, path)

    @rule(mount=mounts, parent=st.sampled_from((("p",), ("p", "a"))), name=new_names)
    def mkdir_of_a_new_name(self, mount: int, parent: Names, name: str) -> None:
        self.both("mkdir", mount, (*parent, name))

    @rule(mount=mounts, path=st.sampled_from(((".hidden",), ("ü",), ("-dash",), ("p", "a", STAGING, ".hidden"))))
    def mkdir_of_an_invalid_name(self, mount: int, path: Names) -> None:
        self.both("mkdir", mount, path)

    @rule(mount=mounts, path=anywhere)
    def rmdir(self, mount: int, path: Names) -> None:
        if not self.followed(mount, path) and not self.leaves_drafts_of_others(mount, path):
            self.both("rmdir", mount, path)

    def leaves_drafts_of_others(self, mount: int, path: Names) -> bool:
        """Whether a draft of the other mount would be left without its artifact, which the model has no place for."""
        artifact = self.model.artifact(path) if len(path) == 2 else None
        return artifact is not None and any(of != mount for of, _ in artifact.drafts)

    @rule(mount=mounts, path=in_drafts, data=contents, append=st.booleans())
    def write_in_a_draft(self, mount: int, path: Names, data: bytes, append: bool) -> None:
        self.write(mount, path, data, append)

    @rule(mount=mounts, path=anywhere, data=contents, append=st.booleans())
    def write_anywhere(self, mount: int, path: Names, data: bytes, append: bool) -> None:
        self.write(mount, path, data, append)

    def write(self, mount: int, path: Names, data: bytes, append: bool) -> None:
        if not self.followed(mount, path) and not self.is_link(mount, path):
            self.both("write", mount, path, data=data, append=append)

    @rule(mount=mounts, path=anywhere, size=st.integers(0, 30))
    def truncate(self, mount: int, path: Names, size: int) -> None:
        if not self.followed(mount, path) and not self.is_link(mount, path):
            self.both("truncate", mount, path, size=size)

    @rule(mount=mounts, path=anywhere, mode=st.sampled_from((0o644, 0o600, 0o755, 0o700)))
    def chmod(self, mount: int, path: Names, mode: int) -> None:
        if not self.followed(mount, path) and not self.is_link(mount, path):
            self.both("chmod", mount, path, mode=mode)

    @rule(mount=mounts, path=anywhere, name=st.sampled_from(("user.a", "user.b")), value=contents.filter(len))
    def set_xattr(self, mount: int, path: Names, name: str, value: bytes) -> None:
        if not self.followed(mount, path) and not self.is_link(mount, path):
            self.both("set_xattr", mount, path, name=name, value=value[:50])

    @rule(mount=mounts, path=anywhere, name=st.sampled_from(("user.a", "user.b")))
    def remove_xattr(self, mount: int, path: Names, name: str) -> None:
        if not self.followed(mount, path) and not self.is_link(mount, path):
            self.both("remove_xattr", mount, path, name=name)

    @rule(mount=mounts, path=anywhere, to=st.sampled_from(("x", "y/z", "../x", "../../..", "/etc")))
    def symlink(self, mount: int, path: Names, to: str) -> None:
        if not self.followed(mount, path):
            self.both("symlink", mount, path, target=to)

    @rule(mount=mounts, old=st.one_of(in_drafts, in_versions, anywhere), new=st.one_of(in_drafts, anywhere))
    def link(self, mount: int, old: Names, new: Names) -> None:
        if not self.followed(mount, old, new):
            self.both("link", mount, old, new)

    @rule(mount=mounts, path=anywhere)
    def unlink(self, mount: int, path: Names) -> None:
        if not self.followed(mount, path):
            self.both("unlink", mount, path)

    @rule(mount=mounts, old=in_drafts, new=in_drafts, flags=st.sampled_from((0, 0, NOREPLACE, EXCHANGE)))
    def rename_in_drafts(self, mount: int, old: Names, new: Names, flags: int) -> None:
        self.rename(mount, old, new, flags)

    @rule(mount=mounts, old=whiches, new=whiches, flags=st.sampled_from((0, EXCHANGE)))
    def rename_what_is_there(self, mount: int, old: int, new: int, flags: int) -> None:
        """Two names that exist in one draft: calls drawn from all names seldom meet two."""
        there = [path for path in sorted(self.model.expected(mount)) if len(path) > 4 and path[2] == STAGING]
        if there:
            first = there[old % len(there)]
            same = [path for path in there if path[:4] == first[:4]]
            self.rename(mount, first, same[new % len(same)], flags)

    @rule(mount=mounts, draft=drafts, place=places, which=whiches)
    def link_all_of_a_version(self, mount: int, draft: Names, place: Names, which: int) -> None:
        """`cp -al v0/. .staging/d/`, into an empty draft."""
        artifact, root = self.model.artifact(place), self.model.root_of(mount, draft)
        if artifact is None or not artifact.versions or root is None or root[1].names:
            return
        source = (*place, f"v{sorted(artifact.versions)[which % len(artifact.versions)]}")
        for path, node in walk(artifact.versions[sorted(artifact.versions)[which % len(artifact.versions)]]):
            if isinstance(node, Directory) and path:
                self.both("mkdir", mount, (*draft, *path))
            elif path:
                self.both("link", mount, (*source, *path), (*draft, *path))

    @rule(mount=mounts, old=anywhere, new=anywhere, flags=st.sampled_from((0, 0, NOREPLACE, EXCHANGE)))
    def rename_anywhere(self, mount: int, old: Names, new: Names, flags: int) -> None:
        self.rename(mount, old, new, flags)

    @rule(mount=mounts, draft=drafts, place=places, alias=new_names, flags=st.sampled_from((0, 0, 0, NOREPLACE)))
    def commit(self, mount: int, draft: Names, place: Names, alias: str, flags: int) -> None:
        if self.rename(mount, draft, (*place, alias), flags):
            tried("a commit by rename in a random history")

    @rule(
        mount=mounts, place=places, old=st.sampled_from(ALIASES), new=new_names, flags=st.sampled_from((0, NOREPLACE))
    )
    def rename_alias(self, mount: int, place: Names, old: str, new: str, flags: int) -> None:
        self.rename(mount, (*place, old), (*place, new), flags)

    def rename(self, mount: int, old: Names, new: Names, flags: int) -> bool:
        if self.followed(mount, old, new) or (self.is_in_version(mount, old) and self.is_in_version(mount, new)):
            return False  # equal files of versions are one inode, whose renaming is nothing to the kernel
        return self.both("rename", mount, old, new, flags=flags)

    def is_in_version(self, mount: int, path: Names) -> bool:
        inside = self.model.root_of(mount, path)
        return inside is not None and inside[0] == "version"

    @rule(mount=mounts)
    def forget(self, mount: int) -> None:
        shown = self.on.shown[mount]
        if isinstance(shown, BareMount):
            shown.forget()

    # --- by the API and the command line

    @rule(place=places, tree=st.sampled_from(TREES), alias=st.sampled_from(ALIASES))
    def commit_by_api(self, place: Names, tree: Tree, alias: str) -> None:
        if place[0] not in self.model.projects:
            return
        result = commit(self.on.registry, self.real(place)[0], place[1], tree, alias, now_ns=time.time_ns())
        self.model.seal(place, directory_of(tree), [alias])
        artifact = self.model.artifact(place)
        assert artifact is not None
        assert result.version.number == artifact.aliases[alias]
        self.acted = -1

    @rule(place=places, alias=st.sampled_from(ALIASES), which=st.none() | st.integers(0, 3))
    def move_alias(self, place: Names, alias: str, which: int | None) -> None:
        artifact = self.model.artifact(place)
        if artifact is None or not artifact.versions:
            return
        self._move_alias(place, artifact, alias, which)
        self.acted = -1

    def _move_alias(self, place: Names, artifact: Artifact, alias: str, which: int | None) -> None:
        aliases, project = self.on.registry.aliases, self.real(place)[0]
        if which is not None:
            artifact.aliases[alias] = sorted(artifact.versions)[which % len(artifact.versions)]
            aliases.move(project, place[1], alias, artifact.aliases[alias])
        elif artifact.aliases.pop(alias, None) is not None:
            aliases.remove(project, place[1], alias)

    @rule(place=places, data=st.data())
    def delete_versions(self, place: Names, data: st.DataObject) -> None:
        artifact = self.model.artifact(place)
        if artifact is None or not artifact.versions or self._borrows(place[0]):
            return
        numbers = data.draw(st.lists(st.sampled_from(sorted(artifact.versions)), min_size=1, unique=True))
        self.on.registry.versions.delete(self.real(place)[0], place[1], numbers, delete_aliases=True)
        self.model.delete(place, numbers)
        self.acted = -1

    def _borrows(self, project: str) -> bool:
        """Whether a draft has content that it was linked to: that goes with the last version which holds it."""
        artifacts = self.model.projects[project].artifacts.values()
        nodes = [node for a in artifacts for draft in a.drafts.values() for _, node in walk(draft)]
        return any(isinstance(node, File) and node.borrowed for node in nodes)

    @rule(place=places, draft=st.sampled_from(DRAFTS), alias=st.sampled_from(ALIASES))
    def commit_on_both_mounts_at_once(self, place: Names, draft: str, alias: str) -> None:
        """Whoever is first, there is one version of each content, and the alias means the later one."""
        artifact = self.model.artifact(place)
        if artifact is None or any((mount, draft) in artifact.drafts for mount in MOUNTS):
            return
        path, target = (*place, STAGING, draft), (*place, alias)
        for mount in MOUNTS:
            self.both("mkdir", mount, path)
            self.both("write", mount, (*path, "own"), data=b"%d" % mount)
        threads = [
            threading.Thread(target=self.on.shown[mount].rename, args=(self.real(path), self.real(target), 0))
            for mount in MOUNTS
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        first = self._first_of(place, alias)
        for mount in (first, 1 - first):
            self.model.commit(mount, path, target)
        tried("two commits at once in a random history")
        self.acted = -1

    def _first_of(self, place: Names, alias: str) -> int:
        """Which mount committed first: not the one whose file the alias shows."""
        version = self.on.registry.versions.resolve(self.real(place)[0], place[1], alias)
        at = self.real((*place, version.name, "own"))
        deadline_s = time.monotonic() + SEEN_S
        while not self.on.shown[0].found_of([at]):
            assert time.monotonic() < deadline_s
        return 1 if self.on.shown[0].walk(at)[at].content == b"0" else 0

    # --- what must hold

    @invariant()
    def both_mounts_show_what_the_model_says(self) -> None:
        tried("a step of a random history of two mounts")
        for mount in MOUNTS:
            expected = self.model.expected(mount)
            del expected[()]
            settle_s = 0.0 if mount == self.acted else self.on.settle_s
            deadline_s = time.monotonic() + settle_s
            while (difference := self.difference(mount, expected)) and time.monotonic() < deadline_s:
                time.sleep(0.02)
            assert not difference, f"mount {mount}: {difference}"

    def difference(self, mount: int, expected: dict[Names, Seen]) -> dict[Names, tuple[Seen | None, Seen | None]]:
        """What is seen otherwise than it should be: that, and what should be seen."""
        found: dict[Names, Seen] = {}
        shown = self.on.shown[mount]
        try:
            looked_up = shown.found_of([self.real((name,)) for name in PROJECTS])
            listed = [(name,) for name in shown.projects() if name.endswith(self.tag)]
            assert sorted(listed) == sorted(looked_up)
            for project in listed:
                for path, seen in shown.walk(project).items():
                    found[path[0].removesuffix(self.tag), *path[1:]] = _comparable(path, seen)
        except (FileNotFoundError, AssertionError):
            if mount == self.acted or not self.on.settle_s:
                raise
            return {(): (None, None)}  # it changes while it is looked at
        wrong = {
            path: (found.get(path), expected.get(path))
            for path in found.keys() | expected.keys()
            if found.get(path) != expected.get(path)
        }
        absent = shown.found_of([self.real(path) for path in self._absent(expected)])
        return wrong or {path: (Seen("found", 0), None) for path in absent}

    def _absent(self, expected: dict[Names, Seen]) -> Iterator[Names]:
        """Names that are not there, and must not be found."""
        names = {1: ARTIFACTS, 2: (*ALIASES, "v0", "v1")}
        for path, seen in expected.items():
            if seen.kind == "directory":
                below = DRAFTS if path[-1] == STAGING else names.get(len(path), FILES)
                yield from ((*path, name) for name in below if (*path, name) not in expected)

    def teardown(self) -> None:
        """Drafts are emptied and removed, name by name."""
        for mount, shown in enumerate(self.on.shown):
            for path, seen in sorted(self.model.expected(mount).items(), key=lambda one: len(one[0]), reverse=True):
                if len(path) > 3 and path[2] == STAGING:
                    remove = shown.rmdir if seen.kind == "directory" else shown.unlink
                    remove(self.real(path))


def _comparable(path: Names, seen: Seen) -> Seen:
    """Link counts only in drafts: a version's are not promised."""
    return seen if len(path) > 3 and path[2] == STAGING else seen._replace(links=None)


def _errno(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


def _name(number: int) -> str:
    return errno.errorcode.get(number, str(number))


class BareWorld:
    """A registry in a directory, and two filesystems over it, each with staging and a connection of its own."""

    settle_s = 0.0

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.registry = stack.enter_context(closing(EmbeddedRegistry(root / "registry")))
        self.shown: list[Shown] = []
        for mount in MOUNTS:
            registry = stack.enter_context(closing(EmbeddedRegistry(root / "registry")))
            self.shown.append(stack.enter_context(closing(BareMount(registry, root / f"staging{mount}"))))


class MountedWorld:
    """The same with real mounts."""

    settle_s = SEEN_S

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.registry = stack.enter_context(closing(EmbeddedRegistry(root / "registry")))
        self.shown: list[Shown] = []
        for mount in MOUNTS:
            (root / f"machine{mount}").mkdir()
            machine = Machine(root / f"machine{mount}", root / "registry")
            self.shown.append(RealMount(stack.enter_context(machine.mount()).path))


def run_histories(make: type[BareWorld] | type[MountedWorld], examples: int, steps: int) -> None:
    """Histories one after another in one world.

    None is made shorter when it fails: that would take minutes, and a history here is short enough to be read.
    """
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    root = Path(tempfile.mkdtemp(prefix="artfs-model-"))
    try:
        with ExitStack() as stack:
            machine = type("Histories", (MountMachine,), {"on": make(root, stack)})
            run_state_machine_as_test(
                machine,
                settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, phases=phases),
            )
    finally:
        shutil.rmtree(root)


def test_random_histories_of_the_filesystem_are_as_the_model_says() -> None:
    run_histories(BareWorld, 8, 20)


@pytest.mark.fuse
@pytest.mark.serial
def test_random_histories_of_real_mounts_are_as_the_model_says() -> None:
    run_histories(MountedWorld, 3, 15)


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_many_random_histories_of_the_filesystem_are_as_the_model_says() -> None:
    run_histories(BareWorld, 120, 40)


@pytest.mark.deep
@pytest.mark.fuse
@pytest.mark.serial
@pytest.mark.timeout(3600)
def test_many_random_histories_of_real_mounts_are_as_the_model_says() -> None:
    run_histories(MountedWorld, 50, 40)
