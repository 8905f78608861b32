"""The floors of the package: who may import whom. Read from the source by ast; nothing is imported."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lines import core, lines_of_code

PACKAGE = Path(__file__).parents[1] / "minires"
FLOORS = [
    ["checks", "files", "progress", "pytorch", "source", "version"],
    ["parameter", "signature", "foreign", "kernels"],
    ["layer"],
    ["layers", "unfound", "losses", "optim", "data", "page", "figures", "layer_state", "machine"],
    ["networks", "probe", "gradcheck", "checkpoint"],
    ["diverged", "position", "run", "weights", "walk", "trace"],
    ["train"],
    ["pretrained"],
    ["bench"],
    ["lab"],
    ["report"],
    ["course"],
    ["commands"],
    ["cli"],
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
DAILY = {"__init__", "__main__"}  # the top of the package gathers names from everywhere; nobody imports them from there
# bench/pytorch.py is a script which minires bench --against torch runs in a process of its own
ONLY_IMPORTER = {"numba": "kernels", "llvmlite": "kernels", "torch": "bench"}
LIMIT = 1530  # lines of code, as tests/lines.py counts them: 1,500, and room for one more layer

FILES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name, source):
    """Yield every module that a file imports, anywhere in it, as a dotted name, ``a.b.c`` for ``from a.b import c``."""
    package = ["minires", *name.split("/")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def faults(name, source):
    """What is wrong with the imports of file ``name`` (``layers/conv``), one sentence each."""
    own, *inside = name.split("/")
    if own in DAILY:
        return
    if own not in FLOOR:
        yield f"{name} stands on no floor: give it one in this test and in docs/architecture"
        return
    for imported in imports(name, source):
        top, *below = imported.split(".")
        if top == "matplotlib" and name.rpartition("/")[2] not in ("figure", "figures"):
            yield f"{name} imports matplotlib; only figures.py and the figure.py of a room may"
        if ONLY_IMPORTER.get(top, own) != own:
            yield f"{name} imports {top}; only {ONLY_IMPORTER[top]} may"
        if top != "minires":
            continue
        target = below[0] if below else ""
        if target == own:
            sideways = own == "layers" and inside != ["__init__"] and below[1:2] != ["compose"]
            if sideways:
                yield f"{name} imports {imported} sideways; layers share only layers/compose"
        elif target not in FLOOR:
            yield f"{name} imports {imported} from the top of the package; import it from where it lives"
        elif FLOOR.get(target, -1) >= FLOOR[own]:
            yield f"{name} (floor {FLOOR[own]}) imports {imported} (floor {FLOOR[target]})"


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down(name):
    assert list(faults(name, FILES[name].read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "name, line, fault",
    [
        ("layers/conv", "from minires.networks import cifar_resnet", "floor 3"),
        ("layers/conv", "from ..networks.cifar import cifar_resnet", "floor 3"),
        ("layers/conv", "from minires.layers.norm import BatchNorm2d", "sideways"),
        ("layers/conv", "from .norm import BatchNorm2d", "sideways"),
        ("layers/conv", "def f():\n    import numba", "only kernels may"),
        ("lab/paths/measure", "import matplotlib.pyplot as plt", "only figures.py and the figure.py of a room may"),
        ("train", "import torch", "only bench may"),
        ("optim", "from minires.losses import mean_squared_error", "floor 3"),
        ("probe", "from minires import Conv2d", "top of the package"),
        ("helpers", "import math", "no floor"),
    ],
)
def test_a_forbidden_import_is_seen(name, line, fault):
    assert any(fault in found for found in faults(name, line))


@pytest.mark.parametrize(
    "name, line",
    [
        ("layers/conv", "from minires import kernels"),
        ("layers/shortcut", "from .compose import Sequential"),
        ("networks/cifar", "from minires.networks.blocks import basic_block"),
        ("kernels/compiled/conv", "import numba"),
        ("lab/paths/figure", "from matplotlib.figure import Figure"),
    ],
)
def test_an_allowed_import_passes(name, line):
    assert list(faults(name, line)) == []


def test_the_docs_tell_the_same_floors():
    text = (PACKAGE.parent / "docs/architecture.md").read_text(encoding="utf-8").split("```")[1]
    told = []
    for line in text.splitlines()[1:]:
        number, names = re.fullmatch(r"(\d*) +(.{0,51}).*", line).groups()
        told += [[]] * bool(number)
        told[-1] = told[-1] + re.findall(r"(\w+)(?:\.py|/)", names)
    assert [sorted(names) for names in reversed(told)] == [sorted(names) for names in FLOORS]


def test_no_file_and_no_function_is_too_long_to_read():
    for name, path in FILES.items():
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) <= 400, name
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                where, parameters = f"{name}: {node.name}", len(node.args.args + node.args.kwonlyargs)
                assert node.end_lineno - node.lineno < 60, where
                assert parameters <= 8 or node.name == "__init__", where


def test_nothing_is_called_utils():
    assert not [name for name in FILES if {"util", "utils", "helpers", "common", "misc"} & set(name.split("/"))]


def test_the_core_can_be_read_in_one_sitting():
    lines = {str(path.relative_to(PACKAGE)): lines_of_code(path) for path in core()}
    assert sum(lines.values()) <= LIMIT, lines


def test_a_group_norm_more_still_fits(tmp_path):
    text = (PACKAGE.parent / "docs" / "contributing.md").read_text(encoding="utf-8")
    (added,) = re.findall(r"^\+\+\+ b/minires/layers/.*?\n@@.*?\n(.*?)^```", text, re.M | re.S)
    path = tmp_path / "group_norm.py"
    path.write_text("".join(f"{line[1:]}\n" for line in added.splitlines()), encoding="utf-8")
    assert lines_of_code(path) > 20
    assert sum(map(lines_of_code, [*core(), path])) <= LIMIT


def test_comments_docstrings_and_line_breaks_are_not_code(tmp_path):
    path = tmp_path / "three.py"
    path.write_text('''"""One.

Two."""

x = [
    1,  # one
]
# two


def f():
    """Three."""
    return """a"""
''')
    assert lines_of_code(path) == 3


def test_importing_minires_loads_no_more_than_it_needs():
    ask = "import minires, sys; print(*({'numba', 'matplotlib', 'tqdm', 'torch', 'urllib.request'} & set(sys.modules)))"
    for mode, loaded in (("compiled", "numba"), ("reference", "")):
        done = subprocess.run(
            [sys.executable, "-c", ask], env={**os.environ, "MINIRES_KERNELS": mode}, capture_output=True, text=True
        )
        assert done.stdout.strip() == loaded, done.stderr
