"""The bounds and bans that keep the source readable, checked on every file.

A rule is a pure function from a module to its offences. Each is also run on a sample that breaks it, so that a rule which
finds nothing is known to look.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 50
PUBLIC_METHODS_MAX = 12
BANNED_MODULE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}

# Where `except Exception` may stand: the three edges, where an error becomes what its reader understands.
CATCH_ALL_ALLOWED = {
    "artfs/fuse/": "an exception that leaves a handler ends the mount: log it, answer EIO",
    "artfs/server/": "an exception must become a 500 and a log line, not end the server",
    "artfs/wandb_server/routes.py": "the same, as an answer that the client does not repeat for minutes",
    "artfs/cli/": "a user sees a sentence and an exit code, never a traceback",
}

# Which part of artfs may import a package; everyone else must stay free of it.
IMPORTS_ALLOWED = {
    "artfs.config": ("artfs/config.py", "artfs/assemble", "artfs/cli/"),
    "pyfuse3": ("artfs/fuse/",),
    "trio": ("artfs/vfs/", "artfs/fuse/"),
    "click": ("artfs/cli/",),
    "rich": ("artfs/cli/",),
    "obstore": ("artfs/store/",),
    "psycopg": ("artfs/registry/",),
    "starlette": ("artfs/server/", "artfs/wandb_server/"),
    "graphql": ("artfs/wandb_server/",),
    "uvicorn": ("artfs/server/", "artfs/cli/"),
}

# `model`, `wire` and `errors` do no I/O, know no clock and no randomness, and start no threads.
PURE = ("artfs/model/", "artfs/wire/", "artfs/errors.py")
IMPURE_IMPORTS = {
    *("asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "random", "requests", "secrets", "select"),
    *("shutil", "signal", "socket", "subprocess", "sqlite3", "apsw", "tempfile", "time", "trio", "urllib", "uuid"),
}


@dataclass(frozen=True)
class Module:
    """One source file; `path` is relative to the root, with slashes."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    @property
    def in_artfs(self) -> bool:
        return self.path.startswith("artfs/")

    @property
    def in_tests(self) -> bool:
        return self.path.startswith("tests/")


Offence = tuple[int, str]  # line, what is wrong there
Rule = Callable[[Module], Iterator[Offence]]


def modules_are_short(module: Module) -> Iterator[Offence]:
    lines = module.source.count("\n")
    if lines > MODULE_LINES_MAX:
        yield lines, f"the module has {lines} lines, over {MODULE_LINES_MAX}"


def functions_are_short(module: Module) -> Iterator[Offence]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {lines} lines, over {FUNCTION_LINES_MAX}"


def classes_are_small(module: Module) -> Iterator[Offence]:
    """pyfuse3 wants all its handlers in one subclass of Operations; a suite of tests may be as long as it needs."""
    if module.in_tests:
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ClassDef) or any(_last_name(base) == "Operations" for base in node.bases):
            continue
        methods = [
            item.name
            for item in node.body
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_")
        ]
        if len(methods) > PUBLIC_METHODS_MAX:
            yield node.lineno, f"{node.name} has {len(methods)} public methods, over {PUBLIC_METHODS_MAX}"


def names_are_telling(module: Module) -> Iterator[Offence]:
    for part in PurePosixPath(module.path).with_suffix("").parts:
        if part.strip("_") in BANNED_MODULE_NAMES:
            yield 1, f"{part} says nothing of what is in it"


def modules_have_a_head(module: Module) -> Iterator[Offence]:
    if module.in_artfs and module.source.strip() and not ast.get_docstring(module.tree):
        yield 1, "the module does not say what it is, decides and must not know"


def only_edges_catch_everything(module: Module) -> Iterator[Offence]:
    """A handler that ends with a bare `raise` hides nothing, so cleaning up in it is free everywhere."""
    if module.in_tests or module.path.startswith(tuple(CATCH_ALL_ALLOWED)):
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        catches_all = any(kind is None or _last_name(kind) in ("Exception", "BaseException") for kind in kinds)
        last = node.body[-1]
        if catches_all and not (isinstance(last, ast.Raise) and last.exc is None):
            yield node.lineno, f"catches everything; only {', '.join(CATCH_ALL_ALLOWED)} may"


def only_the_command_line_prints(module: Module) -> Iterator[Offence]:
    if not module.in_artfs or module.path.startswith("artfs/cli/"):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno, "prints: log it, or return it to the command line"


def packages_stay_in_their_layer(module: Module) -> Iterator[Offence]:
    if not module.in_artfs:
        return
    for line, imported in _imports(module):
        for package, allowed in IMPORTS_ALLOWED.items():
            if _is_within(imported, package) and not module.path.startswith(allowed):
                yield line, f"imports {imported}, which only {', '.join(allowed)} may"


def pure_layers_touch_nothing(module: Module) -> Iterator[Offence]:
    if not module.path.startswith(PURE):
        return
    for line, imported in _imports(module):
        if imported.partition(".")[0] in IMPURE_IMPORTS:
            yield line, f"imports {imported} in a layer without I/O, clock, randomness and threads"


def nothing_is_left_to_do(module: Module) -> Iterator[Offence]:
    for line, comment in _comments(module):
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", comment):
            yield line, "a note of unfinished work: do it, or open an issue"


def ignores_give_a_reason(module: Module) -> Iterator[Offence]:
    for line, comment in _comments(module):
        if re.search(r"#\s*type:\s*ignore(?!\[[^\]]+\]\s+#\s*\w)", comment):
            yield line, "write `# type: ignore[code]  # reason`"


def sleeps_are_between_looks(module: Module) -> Iterator[Offence]:
    """A sleep between two looks at a condition is waiting; one on its own is a guess about time.

    A fault that strikes after a chosen `delay_s` is neither: any moment is a good one.
    """
    if not module.in_tests:
        return
    in_loops = {
        id(node)
        for loop in ast.walk(module.tree)
        if isinstance(loop, ast.While | ast.For | ast.AsyncFor)
        for node in ast.walk(loop)
    }
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != "time.sleep":
            continue
        if id(node) not in in_loops and [ast.unparse(argument) for argument in node.args] != ["delay_s"]:
            yield node.lineno, "sleeps: wait for a condition with a bound"


def private_attributes_are_left_alone(module: Module) -> Iterator[Offence]:
    if not module.in_tests:
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Store):
            continue
        private = node.attr.startswith("_") and not node.attr.startswith("__")
        if private and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            yield node.lineno, f"sets the private {ast.unparse(node)}: take it as an argument instead"


def _last_name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that is imported when the code runs; what is imported only for types costs nothing."""
    for_types = {
        id(node)
        for block in ast.walk(module.tree)
        if isinstance(block, ast.If) and _last_name(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(module.tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _is_within(imported: str, package: str) -> bool:
    return imported == package or imported.startswith(package + ".")


def _comments(module: Module) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(module.source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


# Each rule with a module that breaks it once.
RULES: dict[Rule, Module] = {
    modules_are_short: Module("artfs/x.py", "pass\n" * 501),
    functions_are_short: Module("artfs/x.py", "def f():\n" + "    pass\n" * 50),
    classes_are_small: Module("artfs/x.py", "class C:\n" + "".join(f"    def m{n}(self): ...\n" for n in range(13))),
    names_are_telling: Module("artfs/store/utils.py", ""),
    modules_have_a_head: Module("artfs/x.py", "x = 1\n"),
    only_edges_catch_everything: Module("artfs/x.py", "try: f()\nexcept (OSError, Exception): g()\n"),
    only_the_command_line_prints: Module("artfs/x.py", "print(1)\n"),
    packages_stay_in_their_layer: Module("artfs/client/x.py", "def f():\n    import trio.lowlevel\n"),
    pure_layers_touch_nothing: Module("artfs/model/x.py", "from os import path\n"),
    nothing_is_left_to_do: Module("artfs/x.py", "x = 1  # TO" + "DO: better\n"),
    ignores_give_a_reason: Module("artfs/x.py", "x = 1  # type: " + "ignore[misc]\n"),
    sleeps_are_between_looks: Module("tests/x.py", "import time\ntime.sleep(1)\n"),
    private_attributes_are_left_alone: Module("tests/x.py", "cache._entries = {}\n"),
}

CLEAN = [
    Module("artfs/fuse/x.py", '"""Head."""\nimport trio\ntry: f()\nexcept Exception: log()\n'),
    Module("artfs/fuse/y.py", '"""Head."""\nclass C(pyfuse3.Operations):\n' + "    def m(self): ...\n" * 40),
    Module("artfs/store/x.py", '"""Head."""\ntry: f()\nexcept BaseException:\n    undo()\n    raise\n'),
    Module("artfs/model/x.py", '"""Head."""\nif TYPE_CHECKING:\n    import os\n'),
    Module("tests/x.py", "while not done():\n    time.sleep(0.01)\nself._x = 1  # type: ignore[misc]  # a reason\n"),
]


def _modules() -> list[Module]:
    files = (path for folder in ("artfs", "tests") for path in sorted((ROOT / folder).rglob("*.py")))
    return [Module(path.relative_to(ROOT).as_posix(), path.read_text()) for path in files]


@pytest.fixture(scope="session")
def source() -> list[Module]:
    modules = _modules()
    assert any(module.in_artfs for module in modules)
    assert any(module.in_tests for module in modules)
    return modules


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Rule, source: list[Module]) -> None:
    offences = [f"{module.path}:{line}: {what}" for module in source for line, what in rule(module)]
    assert not offences, "\n".join(["", *offences])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_finds_an_offence(rule: Rule) -> None:
    assert len(list(rule(RULES[rule]))) == 1


@pytest.mark.parametrize("module", CLEAN, ids=lambda module: module.path)
def test_no_rule_complains_about_a_clean_module(module: Module) -> None:
    assert [offence for rule in RULES for offence in rule(module)] == []
