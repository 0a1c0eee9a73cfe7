"""Writes docs/reference: a page for every public name of `artfs`, made of its signature and docstring.

`scripts/reference` calls it; test_reference.py holds the pages to the code. The source is read, not imported, by Griffe. A
name is public if `artfs.__all__` has it, or if it is a class of artfs that a public function, method or property gives.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
LINE_WIDTH = 100
NOT_DESCRIBED = {"__version__"}

_HEAD = "<!-- Written by scripts/reference from the docstrings: change those. -->\n\n"
_POSITIONAL_ONLY = griffe.ParameterKind.positional_only
_KEYWORD_ONLY = griffe.ParameterKind.keyword_only
_STARS = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}


@dataclass(frozen=True)
class Page:
    """What there is to say of one name."""

    name: str
    subject: griffe.Object
    is_exported: bool
    is_of_module: bool = False  # exported by a module that is exported

    @property
    def file_name(self) -> str:
        """Names that differ in case only, as `Sweep` and `sweep`, get files that differ in more, as some systems ignore case."""
        return f"{self.name}.md" if self.subject.is_class else f"artfs.{self.name}.md"

    @property
    def title(self) -> str:
        if not self.is_exported:
            return self.name
        module = self.subject.module.name if self.is_of_module else ""
        return ".".join(filter(None, ("artfs", module, self.name)))

    @property
    def is_made_by_scripts(self) -> bool:
        """Whether scripts call the class; they are given objects of those whose constructors take an open registry."""
        if not self.subject.is_class or not self.is_exported:
            return False
        made = self.subject.all_members.get("__init__")
        made = target(made) if made else None
        return not isinstance(made, griffe.Function) or "session" not in [one.name for one in made.parameters]

    @property
    def members(self) -> list[griffe.Object]:
        """Public methods and properties of a class of artfs's, inherited ones too, by name."""
        if not self.subject.is_class:
            return []
        names = [name for name in self.subject.all_members if not name.startswith("_")]
        found = [member_of(self.subject, name) for name in names]
        told = attributes_told(self.subject)
        own = [one for one in found if one.path.startswith("artfs.") and (one.docstring or one.name not in told)]
        return sorted((member for member in own if member.is_function or member.is_attribute), key=lambda one: one.name)


@dataclass
class Reference:
    """All pages, by name."""

    pages: dict[str, Page] = field(default_factory=dict)

    def add(self, name: str, subject: griffe.Object) -> None:
        """A page of a class that scripts are given, and of the classes that its methods give."""
        if name in self.pages:
            return
        page = self.pages[name] = Page(name, subject, is_exported=False)
        for found in classes_given(page):
            self.add(found.name, found)

    def files(self) -> dict[str, str]:
        """The text of each file of docs/reference."""
        pages = sorted(self.pages.values(), key=lambda page: page.name)
        return {"index.md": index(pages), **{page.file_name: _HEAD + text_of(page, self) for page in pages}}


def load() -> Reference:
    """The reference of the code beside this file."""
    loader = griffe.GriffeLoader(search_paths=[str(ROOT)], docstring_parser=griffe.Parser.google)
    package = loader.load("artfs")
    reference = Reference()
    changing = package.members["_Package"].members  # what the module has as properties
    for name in exports(package):  # before the others, so that a class that is given too counts as exported
        subject = target(changing[name] if name in changing else package.members[name])
        reference.pages[name] = Page(name, subject, is_exported=True)
    for page in list(reference.pages.values()):
        for name in exports(page.subject):
            subject = target(page.subject.members[name])
            reference.pages.setdefault(name, Page(name, subject, is_exported=True, is_of_module=True))
    for page in list(reference.pages.values()):
        for found in classes_given(page):
            reference.add(found.name, found)
    return reference


def attributes_told(subject: griffe.Object) -> set[str]:
    """Names that the docstring of a class explains in its section of attributes."""
    sections = subject.docstring.parsed if subject.docstring else []
    found = [one for one in sections if isinstance(one, griffe.DocstringSectionAttributes)]
    return {attribute.name for section in found for attribute in section.value}


def member_of(subject: griffe.Object, name: str) -> griffe.Object:
    """A member, own or inherited: a property also where a constructor sets it as if it were an attribute."""
    assert isinstance(subject, griffe.Class)
    found = [target(one.members[name]) for one in [subject, *subject.mro()] if name in one.members]
    return next((one for one in found if one.docstring), found[0])


def exports(module: griffe.Object | griffe.Alias) -> list[str]:
    """The names in the `__all__` of a module, if it is one and has one."""
    return [str(name) for name in module.exports or () if str(name) not in NOT_DESCRIBED] if module.is_module else []


def target(member: griffe.Object | griffe.Alias) -> griffe.Object:
    found: griffe.Object = member.final_target if member.is_alias else member  # type: ignore[union-attr,assignment]  # an alias has one
    return found


def classes_given(page: Page) -> Iterator[griffe.Object]:
    """Classes of the API that are in the annotations of what a page's functions return and its properties are."""
    for member in [page.subject, *page.members]:
        annotation = getattr(member, "returns", None) or getattr(member, "annotation", None)
        if not isinstance(annotation, griffe.Expr):
            continue
        for part in annotation.iterate(flat=True):
            if isinstance(part, griffe.ExprName) and part.canonical_path.startswith("artfs.api."):
                found = target(page.subject.package[part.canonical_path.removeprefix("artfs.")])
                if found.is_class and not found.name.startswith("_"):
                    yield found


def index(pages: Iterable[Page]) -> str:
    """The page of pages."""
    lines = ["# Reference of the Python API", "", "`import artfs` gives these names:", "", "| name | |", "|---|---|"]
    lines += [row(page) for page in pages if page.is_exported]
    lines += ["", "Their methods give objects of these classes, which scripts do not make themselves:", ""]
    lines += ["| class | |", "|---|---|"]
    lines += [row(page) for page in pages if not page.is_exported]
    return _HEAD + "\n".join(lines) + "\n"


def row(page: Page) -> str:
    return f"| [{page.title}]({page.file_name}) | {summary(page.subject)} |"


def summary(subject: griffe.Object) -> str:
    """The first sentence, for a cell of a table."""
    text = " ".join((subject.docstring.value if subject.docstring else "").split("\n\n")[0].split())
    sentence, stop, _ = text.partition(". ")
    return (sentence + ("." if stop else "")).replace("|", "\\|")


def text_of(page: Page, reference: Reference) -> str:
    with_signature = page.is_made_by_scripts or not (page.subject.is_class or page.subject.is_module)
    parts = [f"# {page.title}", *described(page.subject, page.title, with_signature=with_signature)]
    properties = [member for member in page.members if not member.is_function]
    methods = [member for member in page.members if member.is_function]
    if properties:
        parts += [
            "## Properties",
            *(f"### {one.name}\n\n" + "\n\n".join(described(one, one.name)) for one in properties),
        ]
    if methods:
        parts += ["## Methods", *(f"### {one.name}\n\n" + "\n\n".join(described(one, one.name)) for one in methods)]
    if page.subject.is_module:
        parts += list(module_parts(page.subject, reference))
    given = {found.name: reference.pages[found.name] for found in classes_given(page) if found.name != page.name}
    if given:
        links = ", ".join(f"[{name}]({one.file_name})" for name, one in sorted(given.items()))
        parts.append(f"See also {links}, [all names](index.md).")
    return "\n\n".join(parts) + "\n"


def module_parts(module: griffe.Object, reference: Reference) -> Iterator[str]:
    """The classes of a module: where they are described, or what they mean."""
    lines = ["| name | code | |", "|---|---|---|"] if module.name == "errors" else ["| name | |", "|---|---|"]
    for name, member in module.members.items():
        if isinstance(member, griffe.Alias) or not member.is_class or name.startswith("_"):
            continue
        if module.name == "errors":
            code = str(target(member).members["code"].value).strip("'\"")  # type: ignore[union-attr]  # an attribute
            lines.append(f"| `{name}` | `{code}` | {summary(target(member))} |")
        elif name in exports(module):
            lines.append(f"| [{name}]({name}.md) | {summary(target(member))} |")
    yield "\n".join(lines)


def described(subject: griffe.Object, name: str, *, with_signature: bool = True) -> Iterator[str]:
    """Signature and docstring as Markdown."""
    if with_signature:
        yield f"```python\n{signature(subject, name)}\n```"
    if subject.docstring:
        for section in subject.docstring.parsed:
            yield section_text(section)


def section_text(section: griffe.DocstringSection) -> str:
    if isinstance(section, griffe.DocstringSectionParameters | griffe.DocstringSectionAttributes):
        head = "Arguments" if isinstance(section, griffe.DocstringSectionParameters) else "Attributes"
        return f"{head}:\n\n" + "\n".join(f"- `{item.name}`: {joined(item.description)}" for item in section.value)
    if isinstance(section, griffe.DocstringSectionRaises):
        return "Raises:\n\n" + "\n".join(f"- `{item.annotation}`: {joined(item.description)}" for item in section.value)
    if isinstance(section, griffe.DocstringSectionReturns):
        return "Returns " + "\n".join(joined(item.description) for item in section.value)
    if isinstance(section, griffe.DocstringSectionAdmonition):
        return f"```python\n{section.value.contents}\n```"
    return str(section.value)


def joined(text: str) -> str:
    return " ".join(text.split())


def signature(subject: griffe.Object, name: str) -> str:
    if isinstance(subject, griffe.Attribute):
        return f"{name}: {subject.annotation}" if subject.annotation else name
    function = subject.members.get("__init__") if subject.is_class else subject
    if function is None and subject.is_class:
        function = subject.all_members.get("__init__")
    if function is None:
        return name
    made = target(function)
    assert isinstance(made, griffe.Function)
    gives = f" -> {made.returns}" if made.returns and not subject.is_class else ""
    parameters = list(parameters_of(made))
    line = f"{name}({', '.join(parameters)}){gives}"
    if len(line) <= LINE_WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {parameter},\n" for parameter in parameters) + f"){gives}"


def parameters_of(function: griffe.Function) -> Iterator[str]:
    starred = False
    for number, parameter in enumerate(function.parameters):
        if number == 0 and parameter.name in ("self", "cls"):
            continue
        stars = _STARS.get(parameter.kind, "") if parameter.kind else ""
        if parameter.kind is _KEYWORD_ONLY and not starred:
            yield "*"
        starred = starred or parameter.kind is _KEYWORD_ONLY or stars == "*"
        kind = f": {parameter.annotation}" if parameter.annotation else ""
        default = f" = {parameter.default}" if parameter.default is not None and not stars else ""
        yield f"{stars}{parameter.name}{kind}{default}"


def write(directory: Path) -> None:
    """Make `directory` hold exactly the pages."""
    files = load().files()
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("*.md"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
