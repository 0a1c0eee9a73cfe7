"""Random histories of projects, members and users against a model: who sees and writes what, after every step."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from artfs.errors import AccessDenied, AlreadyExists, ProjectNotFound, UserNotFound
from artfs.model.access import Role, Scope, Visibility
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.guarded import GuardedRegistry
from artfs.wire.records import Identity
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("access", "model")]

NAMES = ("alice", "bob", "carol")
USERS = st.sampled_from(NAMES)
PROJECTS = st.sampled_from(["vision", "audio"])
ROLES, VISIBILITIES = st.sampled_from(Role), st.sampled_from(Visibility)
WRITERS = (Role.WRITER, Role.ADMIN)


class Memberships(RuleBasedStateMachine):
    """`visibility` by project, `roles` by project and user, and the users there are."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="artfs-access-"))
        self.registry = EmbeddedRegistry(self.directory / "registry")
        self.visibility: dict[str, Visibility] = {}
        self.roles: dict[tuple[str, str], Role] = {}
        self.users: set[str] = set()
        for name in NAMES:
            self.add_user(name)

    def teardown(self) -> None:
        self.registry.close()
        shutil.rmtree(self.directory)

    def of(self, user: str) -> GuardedRegistry:
        record = next(found for found in self.registry.access.users.list() if found.name == user)
        return GuardedRegistry(self.registry, Identity(record, list(Scope)))

    def sees(self, user: str, project: str) -> bool:
        return project in self.visibility and (
            (project, user) in self.roles or self.visibility[project] is not Visibility.PRIVATE
        )

    @rule(name=USERS)
    def add_user(self, name: str) -> None:
        if name in self.users:
            with pytest.raises(AlreadyExists):
                self.registry.access.users.create(name)
        else:
            self.registry.access.users.create(name)
            self.users.add(name)

    @rule(name=USERS)
    def delete_user(self, name: str) -> None:
        if name not in self.users:
            with pytest.raises(UserNotFound):
                self.registry.access.users.delete(name)
            return
        self.registry.access.users.delete(name)
        self.users.discard(name)
        self.roles = {key: role for key, role in self.roles.items() if key[1] != name}

    @rule(user=USERS, project=PROJECTS, visibility=VISIBILITIES)
    def create_project(self, user: str, project: str, visibility: Visibility) -> None:
        if user not in self.users:
            return
        if project in self.visibility:
            with pytest.raises(AlreadyExists):
                self.of(user).projects.create(project, visibility=visibility)
            return
        self.of(user).projects.create(project, visibility=visibility)
        self.visibility[project] = visibility
        self.roles[project, user] = Role.ADMIN

    @rule(user=USERS, project=PROJECTS, visibility=VISIBILITIES)
    def change_visibility(self, user: str, project: str, visibility: Visibility) -> None:
        if self._governs(user, project, lambda of: of.projects.update(project, visibility=visibility)):
            self.visibility[project] = visibility

    @rule(user=USERS, project=PROJECTS)
    def delete_project(self, user: str, project: str) -> None:
        if self._governs(user, project, lambda of: of.projects.delete(project)):
            del self.visibility[project]
            self.roles = {key: role for key, role in self.roles.items() if key[0] != project}

    @rule(user=USERS, project=PROJECTS, member=USERS, role=ROLES)
    def set_member(self, user: str, project: str, member: str, role: Role) -> None:
        if member not in self.users:
            return
        if self._governs(user, project, lambda of: of.access.members.set(project, member, role)):
            self.roles[project, member] = role

    @rule(user=USERS, project=PROJECTS, member=USERS)
    def remove_member(self, user: str, project: str, member: str) -> None:
        if self._governs(user, project, lambda of: of.access.members.remove(project, member)):
            self.roles.pop((project, member), None)

    def _governs(self, user: str, project: str, change: Callable[[GuardedRegistry], object]) -> bool:
        """Try a change that takes an administrator of the project; whether `user` is one."""
        if user not in self.users:
            return False
        if self.roles.get((project, user)) is Role.ADMIN:
            change(self.of(user))
            return True
        with pytest.raises(AccessDenied if self.sees(user, project) else ProjectNotFound):
            change(self.of(user))
        return False

    @invariant()
    def everybody_sees_and_writes_what_the_model_says(self) -> None:
        tried("a step of a random history of projects, members and users")
        for user in sorted(self.users):
            registry = self.of(user)
            seen = [project for project in sorted(self.visibility) if self.sees(user, project)]
            assert [record.name for record in registry.projects.list()] == seen
            for project in seen:
                writes = self.roles.get((project, user)) in WRITERS or self.visibility[project] is Visibility.OPEN
                assert self._writes(registry, project) == writes

    @invariant()
    def members_are_those_of_the_model(self) -> None:
        for project in self.visibility:
            found = {member.user: member.role for member in self.registry.access.members.list(project)}
            assert found == {user: role for (of, user), role in self.roles.items() if of == project}

    def _writes(self, registry: GuardedRegistry, project: str) -> bool:
        try:
            draft = registry.drafts.open(project)
        except AccessDenied:
            return False
        registry.drafts.abandon(draft.id)
        return True


def test_memberships_are_what_their_history_made_them() -> None:
    run_state_machine_as_test(Memberships, settings=settings(max_examples=60, stateful_step_count=25))
