"""Where links lead: by their text, and by the links that they pass."""

from __future__ import annotations

import pytest

from artfs.model.links import LINKS_MAX, Names, Outside, follow, no_links, way_out

pytestmark = [pytest.mark.falsifies("refused")]


def names(path: str) -> Names:
    return tuple(path.split("/")) if path else ()


@pytest.mark.parametrize(
    ("directory", "target", "leads_to"),
    [
        ("", "a", None),
        ("", "..", ".."),
        ("d", "..", None),
        ("d", "../..", ".."),
        ("", "a/..", None),
        ("", "a/../..", ".."),
        ("d/e", "../../x", None),
        ("d/e", "../../../x", "../x"),
        ("d/e", "../../../../x/./y", "../../x/y"),
        ("a/b/c/d/e", "/", "/"),
        ("", "./././", None),
        ("d", ".././..//", ".."),
        ("", "...", None),
    ],
)
def test_a_link_leaves_when_it_climbs_above_the_root(directory: str, target: str, leads_to: str | None) -> None:
    assert way_out(names(directory), target, no_links) == leads_to


@pytest.mark.parametrize(
    ("links", "link", "leads_to"),
    [
        ({"a": ".", "b": "a/../x"}, "b", "../x"),
        ({"d/e": "..", "f": "d/e/../../etc"}, "f", "../../etc"),
        ({"a": "/etc", "b": "a/../x"}, "b", "/etc/../x"),
        ({"a": "deep/er/still", "b": "a/../../x"}, "b", None),
        ({"a": "a", "b": "a/../../x"}, "b", None),
        ({"a": "b/..", "b": "a/.."}, "b", None),
        ({"b": "nothing/../x"}, "b", None),
        ({"b": "nothing/../../x"}, "b", "../x"),
        ({"d/a": "e/f", "d/e/f": "../..", "b": "d/a/.."}, "b", ".."),
    ],
)
def test_going_up_from_a_link_is_going_up_from_where_it_leads(
    links: dict[str, str], link: str, leads_to: str | None
) -> None:
    at = {names(path): target for path, target in links.items()}
    assert way_out(names(link)[:-1], links[link], at.get) == leads_to


def test_a_link_that_leaves_by_another_is_left_to_that_one() -> None:
    links: dict[Names, str] = {("a",): "..", ("b",): "a/x"}
    assert way_out((), "a/x", links.get) is None
    assert way_out((), "..", links.get) == ".."
    assert follow((), "a/x", links.get) == Outside("../x")


def test_as_many_links_are_followed_as_the_kernel_follows() -> None:
    links: dict[Names, str] = {(f"{i}",): f"{i + 1}" for i in range(LINKS_MAX)}
    links[(f"{LINKS_MAX}",)] = "../x"
    assert follow((), links[("1",)], links.get) == Outside("../x")
    assert follow((), links[("0",)], links.get) is None


def test_an_ordinary_link_costs_no_look_at_the_tree() -> None:
    asked: list[Names] = []

    def target_at(path: Names) -> None:
        asked.append(path)

    for target in ("a/b/c", "../../a/b", ".././../a", "..", "a.../b..", "/a/../b"):
        way_out(("d", "e"), target, target_at)
    assert asked == []
    way_out(("d", "e"), "../a/../b", target_at)
    assert asked == [("d", "a"), ("d", "b")]
