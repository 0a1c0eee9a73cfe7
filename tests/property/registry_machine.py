"""The machine that acts on a registry and on a model in plain Python, and compares; test_registry_model.py runs it.

The model decides by brute-force reachability which objects must exist. After every step the registry must hold exactly those,
and the pack files exactly the bytes of those: nothing lost, no trace left.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from artfs.errors import ArtfsError, DraftClosed, DraftNotFound, NotEmpty, ObjectMissing, StillAliased
from artfs.model.digest import ObjectKey
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.deletions import Removal
from artfs.wire.records import SealRequest, SealResult
from artfs.wire.runs import Part
from tests.contract.uploading import Clock, Content, Tree, children_of, content_of, write_pack
from tests.property.registry_model import ModelArtifact, ModelDraft, ModelShared, ModelVersion
from tests.reliability.trials import tried
from tests.stores import keys_in_packs

PROJECTS = ("vision", "audio")
ARTIFACTS = ("bikes", "cars")
FILES = st.sampled_from([b"", b"a", b"bb", b"ccc", b"x" * 3000, bytes(range(250)) * 8])
PROJECT, ARTIFACT = st.sampled_from(PROJECTS), st.sampled_from(ARTIFACTS)
GROUP = st.sampled_from(["night", "day"])
ALIASES = st.lists(st.sampled_from(["best", "good"]), max_size=2)
NAMES = st.sampled_from(["a", "b", "c"])
FEW_TREES: list[Tree] = [  # few and overlapping, so that histories often meet the same objects again
    {"a": b"a"},
    {"a": b"a", "b": b"bb"},
    {"c": {"a": b"a", "b": b"bb"}, "b": b"bb"},
    {"a": {"c": {"a": b"a", "b": b"bb"}}, "b": b"x" * 3000},
]
TREES: st.SearchStrategy[Tree] = st.sampled_from(FEW_TREES) | st.recursive(
    st.dictionaries(NAMES, FILES, max_size=3),
    lambda below: st.dictionaries(NAMES, FILES | below, max_size=3),
    max_leaves=6,
)


class RegistryMachine(RuleBasedStateMachine):
    """Acts on a registry, an embedded one, and on the model, and compares."""

    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="artfs-model-"))
        self.clock = Clock()
        self.random = random.Random(seed)
        self.registry = self._open()
        self.artifacts: dict[str, dict[str, ModelArtifact]] = {}
        self.numbers: dict[tuple[str, str], int] = {}
        self.all_drafts: list[ModelDraft] = []
        self.shared: dict[tuple[str, str, str], ModelShared] = {}
        self.known: dict[ObjectKey, bytes] = {}
        for project in PROJECTS:
            self.registry.projects.create(project)
            self.artifacts[project] = {}

    def _open(self) -> SqlRegistry:
        return EmbeddedRegistry(self.root / "registry", clock=self.clock, random_bytes=self.random.randbytes)

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.registry.close()
            shutil.rmtree(self.root)

    # --- what the model says

    def expected(self, project: str) -> set[ObjectKey]:
        roots = {v.content.root_key for a in self.artifacts[project].values() for v in a.versions.values()}
        for draft in self.all_drafts:
            if draft.project == project and not draft.ended:
                roots |= draft.holds
        for (of, _, _), shared in self.shared.items():
            if of == project and shared.expires_at_ns > self.clock.now_ns:
                roots |= shared.parts
        return self.closure(roots)

    def closure(self, roots: set[ObjectKey]) -> set[ObjectKey]:
        found: set[ObjectKey] = set()
        pending = list(roots)
        while pending:
            key = pending.pop()
            if key not in found:
                found.add(key)
                pending.extend(children_of(key, self.known[key]))
        return found

    def artifact(self, project: str, name: str) -> ModelArtifact:
        return self.artifacts[project].setdefault(name, ModelArtifact())

    def note(self, artifact: ModelArtifact) -> None:
        artifact.history.append((self.registry.changes.position(), dict(artifact.aliases)))

    # --- what happens

    def draft(self, which: int, project: str) -> ModelDraft:
        """One of the drafts so far, dead ones too, or a new one."""
        if which < len(self.all_drafts):
            return self.all_drafts[-1 - which]
        record = self.registry.drafts.open(project)
        self.all_drafts.append(ModelDraft(record, project, record.expires_at_ns))
        return self.all_drafts[-1]

    @rule(project=PROJECT, tree=TREES, name=ARTIFACT, aliases=ALIASES, keep=st.booleans(), seal=st.booleans())
    def put(self, project: str, tree: Tree, name: str, aliases: list[str], keep: bool, seal: bool) -> None:
        """What `artfs put` does, perhaps stopped before the seal."""
        draft = self.draft(len(self.all_drafts), project)
        self.upload_to(draft, tree, everything=False, cut=8)
        if seal:
            self.seal_draft(draft, name, aliases, 0, keep)

    @rule(which=st.integers(0, 3), project=PROJECT, tree=TREES, everything=st.booleans(), cut=st.integers(0, 8))
    def upload(self, which: int, project: str, tree: Tree, everything: bool, cut: int) -> None:
        """Send what is missing, or everything; perhaps only the first part of it."""
        self.upload_to(self.draft(which, project), tree, everything, cut)

    def upload_to(self, draft: ModelDraft, tree: Tree, everything: bool, cut: int) -> None:
        content = content_of(tree, large_bytes=1000)
        self.known |= content.objects
        keys = list(content.objects)
        if draft.ended:
            self._refused(draft, keys)
            return
        missing = self.registry.drafts.missing(draft.record.id, keys)
        present = self.expected(draft.project)
        assert missing == [key for key in keys if key not in present]
        draft.holds |= set(keys) - set(missing)
        sent = (keys if everything else missing)[: cut if cut < 8 else None]
        if sent:
            objects = [(key, self.known[key]) for key in sent]
            pack = write_pack(
                self.registry,
                draft.record.project_uid,
                objects,
                now_ns=self.clock(),
                random_bytes=self.random.randbytes,
            )
            self.registry.drafts.put_pack(draft.record.id, pack)
            draft.holds |= set(sent)
        draft.contents.append(content)

    def _refused(self, draft: ModelDraft, keys: list[ObjectKey]) -> None:
        with pytest.raises(DraftClosed if draft.sealed else DraftNotFound):
            self.registry.drafts.missing(draft.record.id, keys)

    @rule(which=st.integers(0, 3), content=st.integers(0, 5), name=ARTIFACT, aliases=ALIASES, keep=st.booleans())
    def seal(self, which: int, content: int, name: str, aliases: list[str], keep: bool) -> None:
        if which < len(self.all_drafts):
            self.seal_draft(self.all_drafts[-1 - which], name, aliases, content, keep)

    def seal_draft(self, draft: ModelDraft, name: str, aliases: list[str], which: int, keep: bool) -> None:
        if not draft.contents:
            return
        content = draft.contents[which % len(draft.contents)]
        request = SealRequest(name, content.root, aliases, keep_identical=keep)
        try:
            result = self.registry.drafts.seal(draft.record.id, request)
        except ObjectMissing:
            assert not draft.ended
            assert content.root_key not in self.expected(draft.project)
            return
        except DraftNotFound:
            assert draft.ended
            assert draft.sealed is None
            return
        except ArtfsError:  # sealed before, and that version deleted since
            assert draft.sealed is not None
            assert draft.sealed[1] not in self.artifacts[draft.project].get(draft.sealed[0], ModelArtifact()).versions
            return
        self._compare_seal(draft, name, aliases, content, keep, result)

    def _compare_seal(
        self, draft: ModelDraft, name: str, aliases: list[str], content: Content, keep: bool, result: SealResult
    ) -> None:
        got = (result.version.artifact, result.version.number, result.created)
        if draft.sealed is not None:
            assert got == draft.sealed
            return
        artifact = self.artifact(draft.project, name)
        newest = max(artifact.versions, default=None)
        identical = newest is not None and artifact.versions[newest].content.root == content.root
        if keep and identical:
            assert newest is not None
            number, created = newest, False
        else:
            number, created = self.numbers.get((draft.project, name), 0), True
            self.numbers[draft.project, name] = number + 1
            artifact.versions[number] = ModelVersion(number, content)
        artifact.aliases |= dict.fromkeys(("latest", *aliases), number)
        assert got == (name, number, created)
        assert result.version.size_bytes == content.size_bytes
        assert result.version.file_count == content.file_count
        draft.sealed, draft.ended = got, True
        self.note(artifact)

    def open_shared(self, project: str, name: str, group: str) -> ModelShared | None:
        """The shared draft of that name; None for one that was finished, and whose version still is."""
        known = self.shared.get((project, name, group))
        if known is not None and known.version in self.artifacts[project].get(name, ModelArtifact()).versions:
            with pytest.raises(DraftClosed):
                self.registry.shared_drafts.open(project, name, group)
            return None
        record = self.registry.shared_drafts.open(project, name, group)
        if known is None or known.version is not None or known.expires_at_ns <= self.clock.now_ns:
            assert known is None or record.id != known.id
            known = self.shared[project, name, group] = ModelShared(record.id, record.expires_at_ns)
        assert record.id == known.id
        known.expires_at_ns = record.expires_at_ns
        return known

    @rule(which=st.integers(0, 3), content=st.integers(0, 5), name=ARTIFACT, group=GROUP)
    def contribute(self, which: int, content: int, name: str, group: str) -> None:
        draft = self.all_drafts[-1 - which] if which < len(self.all_drafts) else None
        if draft is None or not draft.contents:
            return
        root = draft.contents[content % len(draft.contents)].root_key
        shared = self.open_shared(draft.project, name, group)
        if shared is None:
            return
        repeated = draft.ended and root in shared.parts
        try:
            self.registry.shared_drafts.add(shared.id, draft.record.id, Part(root.digest))
        except ObjectMissing:
            assert root not in self.expected(draft.project)
        except (DraftNotFound, DraftClosed):
            assert draft.ended
            assert not repeated
        else:
            assert repeated or not draft.ended
            shared.parts.add(root)
            draft.ended = True

    @rule(which=st.integers(0, 3), content=st.integers(0, 5), name=ARTIFACT, group=GROUP)
    def finish(self, which: int, content: int, name: str, group: str) -> None:
        draft = self.all_drafts[-1 - which] if which < len(self.all_drafts) else None
        if draft is None or not draft.contents:
            return
        shared = self.open_shared(draft.project, name, group)
        if shared is None:
            return
        chosen = draft.contents[content % len(draft.contents)]
        request = SealRequest(name, chosen.root)
        parts = sorted(key.digest for key in shared.parts)
        try:
            result = self.registry.shared_drafts.finish(shared.id, draft.record.id, request, parts)
        except ObjectMissing:
            assert chosen.root_key not in self.expected(draft.project)
        except (DraftNotFound, DraftClosed):
            assert draft.ended
        else:
            assert not draft.ended
            self._compare_seal(draft, name, [], chosen, True, result)
            shared.parts.clear()
            shared.version = result.version.number
            assert self.registry.shared_drafts.finish(shared.id, draft.record.id, request, parts) == result

    @rule(project=PROJECT, name=ARTIFACT, group=GROUP)
    def abandon_shared(self, project: str, name: str, group: str) -> None:
        shared = self.shared.get((project, name, group))
        if shared is not None:
            self.registry.shared_drafts.abandon(shared.id)
            if shared.version is None:
                del self.shared[project, name, group]

    @rule(which=st.integers(0, 3))
    def abandon(self, which: int) -> None:
        if which >= len(self.all_drafts):
            return
        draft = self.all_drafts[-1 - which]
        self.registry.drafts.abandon(draft.record.id)
        draft.ended = True

    @rule(hours=st.sampled_from([1, 13]))
    def time_passes(self, hours: int) -> None:
        self.clock.advance_s(hours * 3600)
        for draft in self.all_drafts:
            draft.ended = draft.ended or draft.expires_at_ns <= self.clock.now_ns
        for _ in range(1 + len(self.all_drafts)):  # each opening does a bounded part of the sweep
            self.registry.close()
            self.registry = self._open()

    @rule(which=st.integers(0, 3))
    def renew(self, which: int) -> None:
        if which >= len(self.all_drafts):
            return
        draft = self.all_drafts[-1 - which]
        if draft.ended:
            self._refused(draft, [])
        else:
            draft.expires_at_ns = self.registry.drafts.renew(draft.record.id).expires_at_ns

    @rule(project=PROJECT, name=ARTIFACT, data=st.data(), along=st.booleans())
    def delete_versions(self, project: str, name: str, data: st.DataObject, along: bool) -> None:
        artifact = self.artifacts[project].get(name)
        if artifact is None or not artifact.versions:
            return
        numbers = data.draw(st.lists(st.sampled_from(sorted(artifact.versions)), min_size=1, unique=True))
        before = self.expected(project)
        versions = {n: artifact.versions.pop(n) for n in numbers}
        dead = before - self.expected(project)
        plan = self.registry.versions.plan_delete(project, name, numbers)
        assert plan.object_count == len(dead)
        assert plan.aliases == sorted(a for a, n in artifact.aliases.items() if n in numbers)
        try:
            assert self.registry.versions.delete(project, name, numbers, delete_aliases=along) == plan
        except StillAliased:
            assert plan.aliases
            assert not along
            artifact.versions |= versions
            return
        assert along or not plan.aliases
        artifact.aliases = {a: n for a, n in artifact.aliases.items() if n not in numbers}
        self.note(artifact)

    @rule(project=PROJECT, data=st.data(), along=st.booleans())
    def remove_much(self, project: str, data: st.DataObject, along: bool) -> None:
        """Versions of several artifacts and whole artifacts, together."""
        artifacts = self.artifacts[project]
        if not artifacts:
            return
        whole = data.draw(st.lists(st.sampled_from(sorted(artifacts)), unique=True))
        numbers = {
            name: data.draw(st.lists(st.sampled_from(sorted(artifact.versions)), unique=True))
            for name, artifact in sorted(artifacts.items())
            if artifact.versions
        }
        removal = Removal(numbers, whole, delete_aliases=along)
        gone = {name: set(artifacts[name].versions) if name in whole else set(of) for name, of in numbers.items()}
        aliased = {n for n, of in gone.items() if n not in whole and of & set(artifacts[n].aliases.values())}
        before = self.expected(project)
        kept = {name: dict(artifact.versions) for name, artifact in artifacts.items()}
        for name, of in gone.items():
            for number in of:
                del artifacts[name].versions[number]
        plan = self.registry.versions.plan_removal(project, removal)
        assert plan.object_count == len(before - self.expected(project))
        assert {one.artifact: set(one.numbers) for one in plan.artifacts if one.numbers} == {
            name: of for name, of in gone.items() if of
        }
        try:
            assert self.registry.versions.remove(project, removal) == plan
        except StillAliased:
            assert aliased
            assert not along
            for name, versions in kept.items():
                artifacts[name].versions = versions
            return
        assert along or not aliased
        for name in whole:
            del artifacts[name]
        for name, of in gone.items():
            if name not in whole:
                artifacts[name].aliases = {a: n for a, n in artifacts[name].aliases.items() if n not in of}
                self.note(artifacts[name])

    @rule(project=PROJECT, name=ARTIFACT)
    def delete_artifact(self, project: str, name: str) -> None:
        if name not in self.artifacts[project]:
            return
        try:
            self.registry.artifacts.delete(project, name)
        except NotEmpty:
            assert self.artifacts[project][name].versions
        else:
            assert not self.artifacts[project].pop(name).versions

    @rule(
        project=PROJECT,
        name=ARTIFACT,
        alias=st.sampled_from(["best", "latest"]),
        which=st.none() | st.integers(0, 5),
    )
    def move_or_remove_alias(self, project: str, name: str, alias: str, which: int | None) -> None:
        artifact = self.artifacts[project].get(name)
        if artifact is None:
            return
        if which is None:
            if artifact.aliases.pop(alias, None) is not None:
                self.registry.aliases.remove(project, name, alias)
        elif artifact.versions:
            artifact.aliases[alias] = sorted(artifact.versions)[which % len(artifact.versions)]
            self.registry.aliases.move(project, name, alias, artifact.aliases[alias])
        self.note(artifact)

    @precondition(lambda self: any(self.artifacts.values()))
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        project, name = data.draw(st.sampled_from([(p, a) for p in PROJECTS for a in sorted(self.artifacts[p])]))
        artifact = self.artifacts[project][name]
        seq, aliases = data.draw(st.sampled_from(artifact.history))
        still = {alias: number for alias, number in sorted(aliases.items()) if number in artifact.versions}
        assert self.registry.aliases.list(project, name, as_of=seq) == still

    # --- what must hold

    @invariant()
    def catalog_agrees(self) -> None:
        for project, artifacts in self.artifacts.items():
            assert [a.name for a in self.registry.artifacts.list(project)] == sorted(artifacts)
            for name, artifact in artifacts.items():
                listed = self.registry.versions.list(project, name)
                assert {v.number: v.root for v in listed} == {n: v.content.root for n, v in artifact.versions.items()}
                assert self.registry.aliases.list(project, name) == dict(sorted(artifact.aliases.items()))

    @invariant()
    def each_step_is_counted(self) -> None:
        tried("a step of a random history of the registry")

    @invariant()
    def exactly_what_is_held_exists(self) -> None:
        universe = list(self.known)
        for record in self.registry.projects.list():
            found = self.registry.objects.locate(record.name, universe)
            present = {key for key, location in zip(universe, found, strict=True) if location is not None}
            assert present == self.expected(record.name)
            assert keys_in_packs(self.registry.resources.store, record.uid) == sorted(present)
        assert list(self.registry.spool.iterdir()) == []
