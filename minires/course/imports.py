"""What a submission imports, read from its text: solved layers must not come from the package that holds them.

The text is parsed, never run. A name is dotted: ``from minires import ReLU`` gives ``minires.ReLU``, and so does
``minires.ReLU`` after ``import minires``. ``minires.*`` is the whole module: a star, or its name handed on as a value.
"""

import ast
import sys

from minires.checks import some

ALWAYS = ("numpy", "minires.Layer", "minires.Parameter", "minires.Buffer", *sorted(sys.stdlib_module_names))
ROUNDABOUT = ("importlib", "runpy", "pkgutil", "builtins", "sys.modules", "sys.*")  # they import what no reader sees
DYNAMIC = ("__import__", "__subclasses__", "__globals__", "__builtins__", "__loader__")
DYNAMIC_CALLS = ("exec", "eval")


def names(text):
    """Return ({imported name: line}, {other name used of an imported module: line}) of a Python text (str or bytes)."""
    imported, used, modules = {}, {}, {}
    nodes = list(ast.walk(ast.parse(text)))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported.setdefault(alias.name, node.lineno)
                bound = alias.asname or alias.name.split(".")[0]
                modules.setdefault(bound, set()).add(alias.name if alias.asname else bound)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported.setdefault(f"{'.' * node.level}{node.module or ''}.{alias.name}", node.lineno)
    outer = {id(node.value): node for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        word = getattr(node, "attr", None) or getattr(node, "id", None)
        if word in DYNAMIC or isinstance(node, ast.Name) and word in DYNAMIC_CALLS:
            used.setdefault(word, node.lineno)
        if isinstance(node, ast.Name):
            path, top = [], node
            while id(top) in outer:
                top = outer[id(top)]
                path.append(top.attr)
            for module in modules.get(node.id, ()):
                used.setdefault(".".join([module, *(path or "*")]), node.lineno)
    return imported, used


def of_starter(folder, file):
    """What the file to fill in imports: what a submission may import too."""
    imported, used = names((folder / file).read_bytes())
    solved = {name for name in used if name.startswith("minires.")}  # of this package what is used, of others all
    return sorted({*imported, *solved} - {"minires"})


def judge(text, given, allowed):
    """Return ([name that the starter does not import, ...], "" or why the file gets no points).

    ``text`` is the submission, ``given`` what the starter imports, ``allowed`` what this assignment allows besides the
    standard library, NumPy, ``Layer``, ``Parameter`` and ``Buffer``.
    """
    try:
        imported, used = names(text)
    except (SyntaxError, ValueError):
        return [], ""  # it cannot be loaded either, and the tests will say so
    except (RecursionError, MemoryError):
        return [], "No points for this file: its imports cannot be read, as it is nested too deep."
    refused = {name: line for name, line in (used | imported).items() if not _may(name, allowed)}
    others = {name for name in imported if not _within(name, given) and not _leads_to(name, given)}
    notes = sorted(others | set(refused))
    if not refused:
        return notes, ""
    which = some((f"{name} in line {line}" for name, line in sorted(refused.items(), key=lambda pair: pair[1])), 5)
    return notes, f"No points for this file: it uses {which}. This assignment allows {rule(allowed)}."


def rule(allowed):
    """What a file may import, in words; hand-outs say the same."""
    return ", ".join(["the standard library", *ALWAYS[:4], *(name for name in allowed if not _within(name, ALWAYS))])


def _may(name, allowed):
    if "minires" in name.split(".")[1:]:  # another file's own import of it
        return False
    if _within(name, allowed) or _leads_to(name, allowed):
        return True
    return not _within(name, (*ROUNDABOUT, *DYNAMIC, *DYNAMIC_CALLS)) and (_within(name, ALWAYS) or name == "minires")


def _within(name, others):
    """Whether a name is one of the others, or below one; minires.layer.Layer is minires.Layer."""
    parts = name.split(".")
    starts = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    if parts[0] == "minires":
        starts |= {f"minires.{part}" for part in parts[2:]}
    return not starts.isdisjoint(others)


def _leads_to(name, others):
    """Whether a name is a module on the way to one of the others: minires, where minires.Layer is allowed."""
    return any(other.startswith(f"{name}.") for other in others)
