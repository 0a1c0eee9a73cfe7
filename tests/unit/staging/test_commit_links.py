"""Which links a commit refuses: those that leave the version, by themselves or through others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from artfs.client.objects import ObjectReader
from artfs.errors import UnsupportedFile
from artfs.model.digest import Digest
from artfs.vfs.door import Door
from artfs.vfs.ports import DatedPage
from artfs.vfs.staging.area import Staging
from tests.unit.staging.driver import Drive, Machine

pytestmark = [pytest.mark.falsifies("draft-kept", "refused")]


async def test_links_that_leave_the_version_are_refused_and_all_named(draft: Drive) -> None:
    await draft.mkdir("d")
    await draft.symlink("d/fine", "../d/x")
    await draft.symlink("d/up", "../../x")
    await draft.symlink("absolute", "/x")
    with pytest.raises(UnsupportedFile) as caught:
        await draft.commit()
    assert "d/up -> ../../x" in str(caught.value)
    assert "absolute -> /x" in str(caught.value)
    assert "fine" not in str(caught.value)


async def test_links_that_leave_the_version_through_others_are_refused_saying_where_they_lead(draft: Drive) -> None:
    await draft.mkdir("d")
    await draft.symlink("a", ".")
    await draft.symlink("b", "a/../x")
    await draft.symlink("d/e", "..")
    await draft.symlink("f", "d/e/../../etc")
    await draft.symlink("fine", "d/e/d/../a")
    with pytest.raises(UnsupportedFile) as caught:
        await draft.commit()
    assert "b -> a/../x (which leads to ../x from the root)" in str(caught.value)
    assert "f -> d/e/../../etc (which leads to ../../etc from the root)" in str(caught.value)
    assert str(caught.value).count(" -> ") == 2


async def _make_a_link(draft: Drive) -> None:
    await draft.rename("d", "was")
    await draft.symlink("d", ".")


async def _unmake_a_link(draft: Drive) -> None:
    await draft.unlink("short/cut")
    await draft.mkdir("short/cut")


async def _replace_what_has_a_link(draft: Drive) -> None:
    await draft.rename("short", "was")
    await draft.mkdir("short")
    await draft.mkdir("short/cut")


async def _retarget_a_link(draft: Drive) -> None:
    await draft.unlink("short/cut")
    await draft.symlink("short/cut", ".")


async def _move_a_link_there(draft: Drive) -> None:
    await draft.unlink("short/cut")
    await draft.rename("shallow", "short/cut")


@pytest.mark.parametrize(
    ("change", "leaving"),
    [
        (_make_a_link, "over/link -> ../d/../x"),
        (_unmake_a_link, "over/climb -> ../short/cut/../../../x"),
        (_replace_what_has_a_link, "over/climb -> ../short/cut/../../../x"),
        (_retarget_a_link, "over/climb -> ../short/cut/../../../x"),
        (_move_a_link_there, "over/climb -> ../short/cut/../../../x"),
    ],
)
async def test_an_unchanged_link_of_the_version_that_leaves_since_another_changed_is_refused(
    draft: Drive, machine: Machine, change: Callable[[Drive], Awaitable[None]], leaving: str
) -> None:
    for directory in ("d", "over", "short", "one", "one/two", "one/two/three"):
        await draft.mkdir(directory)
    await draft.symlink("short/cut", "../one/two/three")
    await draft.symlink("shallow", ".")
    await draft.symlink("over/link", "../d/../x")
    await draft.symlink("over/climb", "../short/cut/../../../x")
    version = (await draft.commit()).version
    staged = machine.draft_of(version, "staged")
    await change(staged)
    with pytest.raises(UnsupportedFile) as caught:
        await staged.commit()
    assert leaving in str(caught.value)


class _CountedPages(ObjectReader):
    pages = 0

    def page(self, project: str, digest: Digest) -> DatedPage:
        self.pages += 1
        return super().page(project, digest)


async def test_links_cost_a_draft_that_changes_none_no_look_at_the_rest_of_its_version(machine: Machine) -> None:
    source = _CountedPages(machine.registry)
    area = Staging(machine.layout.root, source, machine.uploads, Door())
    draft = await machine.draft("links")
    for number in range(40):
        await draft.mkdir(f"d{number}")
        await draft.symlink(f"d{number}/link", f"../d{number}/../x")
    version = (await draft.commit()).version
    pages = []
    for name, path, target in (("plain", "new", None), ("linked", "d1/other", "link")):
        machine.draft_of(version, name)
        staged = machine.found(name, staging=area)
        await (staged.write(path, b"new") if target is None else staged.symlink(path, target))
        before = source.pages
        await staged.commit(name)
        pages.append(source.pages - before)
    await area.close()
    source.close()
    assert pages[0] < 10
    assert pages[1] > 40


async def test_a_link_of_the_version_that_leaves_it_after_a_move_is_refused(machine: Machine, draft: Drive) -> None:
    await draft.mkdir("a")
    await draft.mkdir("a/b")
    await draft.mkdir("a/b/c")
    await draft.symlink("a/b/c/link", "../../../top")
    await draft.symlink("a/b/here", "..")
    version = (await draft.commit()).version
    moved = machine.draft_of(version, "moved")
    await moved.rename("a/b/c", "a/c")
    with pytest.raises(UnsupportedFile, match="a/c/link"):
        await moved.commit()
    await moved.rename("a/c", "a/b/other")
    await moved.commit()
