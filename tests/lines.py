"""Count lines: ``python tests/lines.py`` says how long the package, the examples, the tests and the core are."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What a newcomer has to read, all of it; places in minires.
CORE = ["parameter.py", "layer.py", "layers", "losses.py", "networks", "kernels/reference.py"]
CORE += ["optim", "train.py"]


def files_in(place):
    """Return the paths of the Python files at a place of the repository: a file, or a folder with all below it."""
    place = ROOT / place
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def core():
    return [path for place in CORE for path in files_in(f"minires/{place}")]


def lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def lines_of_code(path):
    """Lines without docstrings and comments, however the source is wrapped: about one per statement."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return sum(bool(line.strip()) for line in ast.unparse(tree).splitlines())


if __name__ == "__main__":
    rows = {place: files_in(place) for place in ("minires", "examples", "tests")} | {"core": core()}
    for name, paths in rows.items():
        print(f"{name:<10}{sum(map(lines, paths)):>8,} lines, {sum(map(lines_of_code, paths)):>7,} of code")
