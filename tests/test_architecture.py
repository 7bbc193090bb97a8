"""Which room may know which: the imports of every file, held against the one-way order."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib.util import resolve_name
from pathlib import Path

import pytest

import bioplaus
from bioplaus import content, figures

ENGINE = Path(bioplaus.__file__).parent

# Later rooms may import earlier ones, never the reverse.
# fmt: off
ORDER = [
    "errors", "late", "checks", "content", "streams", "settings", "capacity", "own", "declaration", "symbolic", "perturb", "drive", "codegen", "cell", "cerebellum", "circuit",
    "tasks", "recording", "simulate", "analysis", "eligibility", "signal", "schedule", "rules", "brian", "learning", "measure", "check",
    "figures", "runs", "reward", "cli",
]
# fmt: on

# What only some rooms may import. Content asks for all of these by way of the engine.
ONLY = {"brian2": {"symbolic", "brian"}, "matplotlib": {"figures"}}

# What some rooms may not import, though later ones do: expressions are no language's.
NEVER = {"symbolic": {"torch", "numba"}}


def files(root: Path = ENGINE) -> list[Path]:
    found = [file for file in sorted(root.rglob("*.py")) if "template" not in file.parts]
    assert found
    return found


def room(file: Path) -> str:
    """The room of a file under bioplaus/: symbolic for ``symbolic/text.py``, cli for ``cli_run.py``."""
    name = file.relative_to(ENGINE).parts[0].removesuffix(".py")
    return "cli" if name.startswith("cli") else name


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under ``if TYPE_CHECKING:``: annotations may name what is not used. Its ``else`` runs."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _name(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield from running(other)
        else:
            yield from running(child)


def imports(source: str, package: str) -> Iterator[str]:
    """Each dotted name that a source imports, at the top or in a function, or uses of `import bioplaus`."""
    parents = package.split(".")
    nodes = list(running(ast.parse(source)))
    aliases = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    yield from (alias.name for alias in aliases if alias.name != "bioplaus")
    doors = {alias.asname or alias.name for alias in aliases if alias.name == "bioplaus"}
    for node in nodes:
        if isinstance(node, ast.Attribute) and _name(node.value) in doors:
            yield home(node.attr)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield home(alias.name) if origin == "bioplaus" else f"{origin}.{alias.name}"
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__") and node.args:
            if isinstance(node.args[0], ast.Constant):
                named = str(node.args[0].value)
                given = [arg.value for arg in node.args[1:] if isinstance(arg, ast.Constant)]
                yield resolve_name(named, str(given[0]) if given else package) if named.startswith(".") else named


def home(name: str) -> str:
    """Where a name that bioplaus itself offers comes from: bioplaus.symbolic.units.ms for ms."""
    return f"{bioplaus._HOME.get(name, 'bioplaus')}.{name}"


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def offences(source: str, own: str, package: str = "bioplaus.room") -> list[str]:
    """What a file of the room `own` does that it must not."""
    tree = ast.parse(source)
    found = []
    for target in imports(source, package):
        top, *rest = target.split(".")
        if top in ONLY and own not in ONLY[top]:
            found.append(f"imports {top}, which only {sorted(ONLY[top])} may")
        if top in NEVER.get(own, ()):
            found.append(f"imports {top}, which {own} may not")
        if top in content.KINDS.values() or target.startswith(
            tuple(f"bioplaus.content.{folder}." for folder in content.KINDS.values())
        ):
            found.append(f"imports the content {target}")
        if top == "bioplaus" and rest[0] not in ("__version__", "__file__"):
            if rest[0] not in ORDER:
                found.append(f"imports {target}, which has no place in the order")
            elif ORDER.index(rest[0]) > ORDER.index(own):
                found.append(f"imports {target}, a later room")
    shipped = {name for kind in content.KINDS for name in content.names(kind)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = _name(node.func)
        if called == "print" and isinstance(node.func, ast.Name) and own != "cli":
            found.append("prints")
        if called in {"call", "load", "factory", "describe", *content.KINDS}:
            asked = {arg.value for arg in node.args if isinstance(arg, ast.Constant)} & shipped
            found += [f"asks for the content {name!r} by name" for name in asked]
    return found


@pytest.mark.parametrize("file", files(), ids=lambda file: file.relative_to(ENGINE).as_posix())
def test_imports_run_one_way(file):
    if file == ENGINE / "__init__.py":  # the front door knows every room, and opens none before it is asked to
        return
    assert room(file) in ORDER, f"{room(file)} has no place in the order"
    package = ".".join(file.relative_to(ENGINE.parent).parent.parts)
    assert offences(file.read_text(), room(file), package) == []


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("cell", "from bioplaus.circuit import Circuit"),
        ("cell", "def f():\n    from ..learning.trainer import Trainer"),
        ("cell", "import importlib\nimportlib.import_module('bioplaus.learning.trainer')"),
        ("cell", "import importlib\nimportlib.import_module('.trainer', 'bioplaus.learning')"),
        ("cell", "if TYPE_CHECKING:\n    pass\nelse:\n    import bioplaus.rules"),
        ("cell", "from bioplaus import simulate"),
        ("cell", "import bioplaus as bp\nbp.simulate()"),
        ("errors", "from bioplaus import ms"),
        ("cell", "import brian2.units"),
        ("learning", "from brian2 import ms"),
        ("runs", "import matplotlib.pyplot as plt"),
        ("symbolic", "from torch import Tensor"),
        ("symbolic", "def f():\n    import numba"),
        ("rules", "from bioplaus.nowhere import x"),
        ("runs", "from bioplaus.content.models.lif import lif"),
        ("runs", "from models.lif import lif"),
        ("runs", "from bioplaus import content\ncontent.factory('model', 'lif')"),
        ("learning", "print('loss')"),
    ],
)  # fmt: skip
def test_each_offence_is_seen(own, source):
    assert len(offences(source, own)) == 1


def test_what_is_allowed_is_not_an_offence():
    assert offences("from bioplaus.errors import CellError\nimport numpy as np", "cell") == []
    assert offences("import brian2\nfrom . import text", "symbolic", "bioplaus.symbolic") == []
    assert offences("from ..cell import Cell", "figures", "bioplaus.figures") == []
    assert offences("if TYPE_CHECKING:\n    import bioplaus.rules", "cell") == []
    assert offences("print('done')\nfrom bioplaus import __version__", "cli") == []
    assert offences("import bioplaus as bp\nbp.task\nbp.circuit\nfrom bioplaus import ms", "runs") == []
    assert offences("from bioplaus.content import names, load\nload('model', name)", "runs") == []


def dotted(file: Path) -> str:
    """bioplaus.symbolic.text for ``symbolic/text.py``, bioplaus.symbolic for ``symbolic/__init__.py``."""
    return ".".join(file.relative_to(ENGINE.parent).with_suffix("").parts).removesuffix(".__init__")


def graph(sources: Mapping[str, str], packages: Collection[str] = ()) -> dict[str, set[str]]:
    """Which of several files, by dotted name, imports which, at the top or in a function."""
    found: dict[str, set[str]] = {}
    for name, source in sources.items():
        targets = set()
        for target in imports(source, name if name in packages else name.rpartition(".")[0]):
            while target and target not in sources:  # a name in a file is that file's
                target = target.rpartition(".")[0]
            targets.add(target)
        found[name] = targets - {name, ""}
    return found


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """All sets of files that import each other, however many lie between."""
    reached = {name: _after(graph, name) for name in graph}
    found = {frozenset(b for b in reached[a] if a in reached[b]) for a in graph if a in reached[a]}
    return sorted(map(sorted, found))


def _after(graph: Mapping[str, set[str]], start: str) -> set[str]:
    met, waiting = set(), [start]
    while waiting:
        new = graph[waiting.pop()] - met
        met |= new
        waiting += new
    return met


def test_no_files_import_each_other_in_a_circle():
    """Imports in functions count: they put off what a circle does, and do not cut it."""
    # The front door knows every room; what is asked of it counts as asked of the room.
    found = {dotted(file): file for file in files() if file != ENGINE / "__init__.py"}
    packages = {name for name, file in found.items() if file.name == "__init__.py"}
    edges = graph({name: file.read_text() for name, file in found.items()}, packages)
    assert sum(map(len, edges.values())) > 500
    assert circles(edges) == []


A, B, C = "bioplaus.room.a", "bioplaus.room.b", "bioplaus.room.c"


@pytest.mark.parametrize(
    ("sources", "circle"),
    [
        ({A: "from bioplaus.room.b import x", B: "from bioplaus.room.a import y"}, [A, B]),
        ({A: "from bioplaus.room import b", B: "def f():\n    from bioplaus.room.a import y"}, [A, B]),
        ({A: "def f():\n    from bioplaus.room import b", B: "def f():\n    import bioplaus.room.a"}, [A, B]),
        ({A: "from . import b", B: "from .c import x", C: "import importlib\nimportlib.import_module('bioplaus.room.a')"}, [A, B, C]),
        ({"bioplaus.room": "from bioplaus.room.a import x", A: "from bioplaus.room import y"}, ["bioplaus.room", A]),
        ({"bioplaus.simulate": "import bioplaus.room.a", A: "import bioplaus as bp\nbp.simulate()"}, [A, "bioplaus.simulate"]),
    ],
)  # fmt: skip
def test_each_circle_is_seen(sources, circle):
    assert circles(graph(sources | {"bioplaus.room.d": "from bioplaus.room.a import x"}, {"bioplaus.room"})) == [circle]


@pytest.mark.parametrize(
    "sources",
    [
        {A: "from bioplaus.room.b import x", B: "if TYPE_CHECKING:\n    from bioplaus.room.a import y"},
        {A: "from bioplaus.room.b import x\nfrom bioplaus.room.c import x", B: "from bioplaus.room.c import x", C: ""},
        {A: "from bioplaus.room.b import x", B: "import torch", C: "from bioplaus.room.a import x"},
    ],
)
def test_what_is_no_circle_is_not_seen(sources):
    assert circles(graph(sources)) == []


def content_files() -> list[Path]:
    folders = [content.shipped() / folder for folder in content.KINDS.values()]
    return [file for folder in folders for file in sorted(folder.rglob("*.py"))]


@pytest.mark.parametrize("file", content_files(), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_content_uses_the_engine_and_earlier_content(file):
    kinds = list(content.KINDS.values())
    kind = next(part for part in file.parts[::-1] if part in kinds)
    for target in imports(file.read_text(), f"bioplaus.content.{kind}"):
        top, *rest = target.split(".")
        assert top not in ("brian2", *kinds), f"{target}: units and equations come by way of bioplaus"
        if rest[:1] == ["content"] and len(rest) > 1 and rest[1] in kinds:
            assert kinds.index(rest[1]) <= kinds.index(kind), f"{target}: models ← circuits ← experiments"


def below_figures(source: str) -> list[str]:
    """What a content file takes from inside `bioplaus.figures`, by an import or by a chain of dots."""
    tree = ast.parse(source)
    known = {"bioplaus": "bioplaus"}  # name in the file → what it stands for
    named = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            named += [f"{node.module}.{alias.name}" for alias in node.names]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (root := ast.unparse(node).split(".")[0]) in known:
            named.append(known[root] + ast.unparse(node).removeprefix(root))
    offered = {"bioplaus.figures." + name for name in figures.__all__}
    offered |= {"bioplaus.figures.panels." + name for name in figures.panels.__all__}
    inside = [name.split(".")[2:] for name in named if name.startswith("bioplaus.figures.")]
    # Of the panels a name follows; what follows any other name is its own affair.
    asked = {".".join(["bioplaus.figures", *parts[: 2 if parts[0] == "panels" else 1]]) for parts in inside}
    return sorted(asked - offered)


@pytest.mark.parametrize("file", content_files(), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_content_draws_with_what_figures_offers(file):
    assert below_figures(file.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from bioplaus.figures.compose import learning",
        "def draw(results):\n    from bioplaus.figures import compose",
        "import bioplaus.figures.panels.curves as curves",
        "import bioplaus as bp\nbp.figures.compose.learning({})",
        "from bioplaus import figures\nfigures.panels.curves.key({}, strokes={})",
        "from bioplaus.figures import panels\npanels.tradeoff.FRONTIER",
    ],
)
def test_what_lies_inside_figures_is_seen(source):
    assert len(below_figures(source)) == 1


def test_what_figures_offers_is_not_inside():
    assert below_figures("import bioplaus as bp\nbp.figures.panels.learning(ax, {})\nbp.figures.Sheet.done") == []
    assert below_figures("from bioplaus.figures import GUIDE, panels\npanels.plane") == []
    assert below_figures("import numpy as np\nnp.figures.compose") == []


def imported(statement: str, watched: set[str]) -> set[str]:
    """Which of the watched packages a statement brings into a new interpreter."""
    ask = f"import sys; {statement}; print(*({watched} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_bioplaus_imports_nothing_heavy():
    assert imported("import bioplaus", {"torch", "brian2", "numpy", "matplotlib", "pandas"}) == set()


def test_equations_are_read_where_a_cell_is_made_not_where_circuits_and_rules_are_described():
    heavy = {"brian2", "sympy", "scipy", "numba"}
    assert imported("import bioplaus.circuit.description, bioplaus.codegen.transpose, bioplaus.rules", heavy) == set()
    assert imported("import bioplaus.cell, bioplaus.codegen.plans", heavy | {"numpy", "torch"}) == set()
    assert {"brian2", "sympy"} <= imported("from bioplaus import ms", heavy)  # the watch works


def test_expressions_are_no_languages():
    assert imported("import bioplaus.symbolic.compile", {"torch", "numba"}) == set()


@pytest.mark.parametrize("room", ["brian", "symbolic.units"])
def test_the_exception_hook_is_left_as_it_was(room):
    ask = f"import sys; kept = sys.excepthook; import bioplaus.{room}; assert sys.excepthook is kept"
    assert subprocess.run([sys.executable, "-c", ask]).returncode == 0


def test_the_front_door_offers_what_it_says():
    for name in bioplaus.__all__:
        assert getattr(bioplaus, name) is not None, name
    with pytest.raises(AttributeError, match="Did you mean 'model'"):
        _ = bioplaus.modle  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        from bioplaus import no_such_unit  # type: ignore[attr-defined]  # noqa: F401


def test_the_front_door_declares_to_type_checkers_what_it_offers():
    """The block that type checkers and editors read is written by hand; it may not drift from the table."""
    tree = ast.parse((ENGINE / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and _name(n.test) == "TYPE_CHECKING")
    declared = set()
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            declared |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            declared.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            declared.add(_name(node.target))
    assert declared == set(bioplaus.__all__)


def test_submodules_do_not_replace_the_functions_of_their_name():
    import bioplaus.circuit
    import bioplaus.simulate
    from bioplaus import circuit, simulate

    assert bioplaus.circuit is circuit and bioplaus.simulate is simulate
    assert circuit.__module__ == "bioplaus.content" and callable(simulate)
    assert sys.modules["bioplaus.circuit"].Circuit is bioplaus.Circuit


PAGE = (content.shipped() / "docs" / "architecture.md").read_text()


def test_the_page_tells_every_room_in_the_order_of_imports():
    rooms = re.findall(r"^\| `(\w+)` \|", PAGE.partition("\n## ")[0], re.M)
    there = {path.stem for path in ENGINE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == ORDER and set(rooms) == there - {"__init__"}


def resolved(name: str) -> object:
    """What a dotted name stands for, a module or something in one; None if there is no such thing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        above, _, attribute = name.rpartition(".")
        return getattr(resolved(above), attribute, None) if above else None


def test_every_name_on_the_page_is_in_the_code():
    named = re.findall(r"`(bioplaus(?:\.\w+)+)`", PAGE)
    assert len(named) > 30
    for name in named:
        assert resolved(name) is not None, name
    for place in re.findall(r"`(?:bioplaus/)?([\w/]+/|bioplaus/[\w/]+\.py)`", PAGE):
        root = content.shipped()
        assert any((base / place).exists() for base in (root, ENGINE)), place


def test_families_of_which_a_part_is_enough_are_there():
    """Each is a test asked of more than that many, and by its own name alone."""
    import conftest

    texts = {path.name: path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")}
    for name, count in conftest.ENOUGH.items():
        assert sum(f"\ndef {name}(" in text for text in texts.values()) == 1, name
        assert count >= 2
