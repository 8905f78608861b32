"""Grading: the tests' findings on a submission as points, a report, a line of a CSV."""

import csv
import hashlib
import io
import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path

from minires.course import imports, jail
from minires.course.assignment import CourseError
from minires.files import locked, written_safely

MOST_BYTES = 1 << 20  # of a submission


def find_file(assignment, path):
    """The file of a submission: the path itself, or the one of the right name in that folder."""
    path = Path(path)
    if not path.is_dir() or path.is_symlink():
        found = [path]
    else:
        everything = list(itertools.islice(jail.entries(path), jail.MOST_FILES + 1))
        if len(everything) > jail.MOST_FILES:
            raise CourseError(f"{path} holds more than {jail.MOST_FILES} files.")
        found = [Path(entry.path) for entry in everything if entry.name == assignment.file]
    if len(found) != 1:
        raise CourseError(f"expected one file {assignment.file} in {path}, found {len(found)}.")
    if found[0].is_symlink() or not found[0].is_file():
        raise CourseError(f"expected {found[0]} to be a plain file; links and devices are not opened.")
    if found[0].stat().st_size > MOST_BYTES:
        raise CourseError(f"{found[0]} is larger than 1 MB.")
    return found[0]


def grade(assignment, path, *, hidden=None, seed=0, select="", only_first=False):
    """Run visible and hidden tests on a submission; return its result as a dict.

    Parameters
    ----------
    assignment : Assignment
    path : path
        The student's file, or a folder that holds it.
    hidden : path, optional
        A folder of hidden tests in place of the assignment's own.
    seed : int
        For the random numbers that tests ask for with ``seeded()``.
    select : str
        Only tests of this task.
    only_first : bool
        Stop at the first failure.
    """
    began = time.monotonic()
    try:
        content = find_file(assignment, path).read_bytes()
    except (CourseError, OSError) as error:
        return _result(assignment, [], [], str(error), began)
    starter = assignment.folder / "starter"
    options = ["-k", f"test_task_{select.replace('.', '_')}_"] if select else []
    options += ["-x"] if only_first else []
    with _box() as box:
        origin = box / "origin"
        shutil.copytree(starter, origin, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        (origin / assignment.file).write_bytes(content)
        given = imports.of_starter(starter, assignment.file)
        order = {
            "origin": str(origin),
            "file": assignment.file,
            "limits": assignment.limits,
            "options": options,
            "visible": str((assignment.folder / "tests").resolve()),
            "hidden": str(Path(hidden or assignment.folder / "hidden").resolve()),
            "given": given,
            "allowed": given if assignment.allowed_imports is None else assignment.allowed_imports,
        }
        rows, found, trouble = _examine(order, assignment.folder.resolve(), seed)
    return _result(assignment, rows, found, trouble, began)


@contextmanager
def _box():
    """A new folder for one grading. Those that killed graders left have a lock that nobody holds: they are removed."""
    for lock in Path(tempfile.gettempdir()).glob("minires-grade-*.lock"):
        with suppress(OSError, AttributeError):  # it is held, or another person's
            if lock.lstat().st_uid == os.getuid():
                with locked(lock):
                    jail.remove(lock.with_suffix(""))
    box = Path(tempfile.gettempdir()) / f"minires-grade-{secrets.token_hex(8)}"
    with locked(f"{box}.lock", waiting=""):
        try:
            box.mkdir()
            box.chmod(0o711)
            yield box
        finally:
            jail.remove(box)


def _examine(order, folder, seed):
    """Start examine.py; return the rows it printed, the submission's imports, and what is wrong as a whole."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    environment |= {"MINIRES_COURSE_SEED": str(seed), "MINIRES_COURSE_ASSIGNMENT": str(folder)}
    command = [sys.executable, "-m", "minires.course.examine", json.dumps(order)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    most = 40 * order["limits"]["seconds"]
    try:
        output, errors = process.communicate(timeout=most)
        errors = errors.decode(errors="replace")[-1000:]
        trouble = "" if process.returncode == 0 else f"the tests' own process failed: {errors}"
    except subprocess.TimeoutExpired:
        jail.kill([process.pid])
        output, trouble = process.communicate()[0], f"took longer than {most} seconds in all, and was stopped."
    rows, found = {}, []
    for line in output.splitlines():
        if line.endswith(b"}"):
            row = json.loads(line)
            if "imports" in row:
                found, trouble = row["imports"], row["trouble"] or trouble
            else:
                rows[row["id"]] = row  # the last word on each test
    return list(rows.values()), found, trouble


def _result(assignment, rows, found, trouble, began):
    tasks = {}
    for number, task in assignment.tasks.items():
        mine = [row for row in rows if row["task"] == number]
        passed = sum(row["passed"] for row in mine)
        points = task["points"] * passed / len(mine) if mine else 0
        tasks[number] = task | {"earned": round(points, 2), "passed": passed, "tests": mine}
    return {
        "assignment": assignment.name,
        "earned": round(sum(task["earned"] for task in tasks.values()), 2),
        "points": assignment.points,
        "seconds": round(time.monotonic() - began, 1),
        "trouble": trouble,
        "imports": {assignment.file: found},
        "tasks": tasks,
    }


def _imports(result):
    """The notes on imports as lines of text."""
    return [
        f"{file} imports, and its starter does not: {', '.join(names)}"
        for file, names in result["imports"].items()
        if names
    ]


def _reason(result):
    """Why a submission got no points, in one line; "" where it got some."""
    messages = [row["message"] for task in result["tasks"].values() for row in task["tests"] if not row["passed"]]
    if result["trouble"] or result["earned"] or not messages:
        return result["trouble"]
    return max(messages, key=messages.count).partition("\n")[0]


def report(result):
    """The result as text: what to do, task by task."""
    lines = [f"{result['assignment']}: {result['earned']:g} of {result['points']} points"]
    lines += [result["trouble"]] if result["trouble"] else []
    lines += _imports(result)
    for number, task in result["tasks"].items():
        tests = task["tests"]
        score = f"{task['earned']:g} of {task['points']}, {task['passed']} of {len(tests)} tests passed"
        lines.append(f"Task {number}, {task['title']}: {score}")
        before = None
        for row in tests:
            if not row["passed"]:
                name = row["test"].removeprefix("test_task_" + number.replace(".", "_") + "_").replace("_", " ")
                message = "the same" if row["message"] == before else row["message"].replace("\n", "\n      ")
                lines.append(f"  {'hidden test' if row['hidden'] else 'test'}: {name}\n      {message}")
                before = row["message"]
    return _printable("\n".join(lines))


def _printable(text):
    """Without control characters: what a submission says must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def gradescope(result):
    """The result in the form of Gradescope's results.json."""
    tests = [
        {
            "number": number,
            "name": f"Task {number}: {task['title']}",
            "score": task["earned"],
            "max_score": task["points"],
            "status": "passed" if task["passed"] == len(task["tests"]) > 0 else "failed",
            "output": report(result | {"tasks": {number: task}, "trouble": "", "imports": {}}).partition("\n")[2],
            "visibility": "visible",
        }
        for number, task in result["tasks"].items()
    ]
    return {
        "score": result["earned"],
        "execution_time": result["seconds"],
        "output": _printable("\n".join([*filter(None, [result["trouble"]]), *_imports(result)])),
        "visibility": "visible",
        "tests": tests,
    }


# -- many submissions -----------------------------------------------------------------------------------------


def grade_all(assignment, folder, csv_file, *, jobs=None, tell=print, **options):
    """Grade every file and folder in ``folder``; write a CSV, and beside it one result for each, to resume from."""
    folder, csv_file = Path(folder), Path(csv_file)
    results = csv_file.with_suffix(".results")
    results.mkdir(exist_ok=True)
    ours = results.resolve()
    everyone = [path for path in sorted(folder.iterdir()) if path.is_dir() or path.suffix == ".py"]
    everyone = [path for path in everyone if not path.name.startswith((".", "__")) and path.resolve() != ours]
    if not everyone:
        raise CourseError(f"no submissions in {folder}: expected a file or a folder for each student.")
    stamps = {path: _stamp(assignment, path, options) for path in everyone}
    done = {}
    for path in everyone:
        try:
            kept = json.loads((results / f"{_short(path)}.json").read_text(encoding="utf-8"))
            if kept["stamp"] == stamps[path]:
                done[path] = kept
        except (OSError, ValueError, KeyError, TypeError):
            pass
    tell(f"{len(everyone)} submissions, {len(done)} of them graded before")
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        waiting = {pool.submit(grade, assignment, path, **options): path for path in everyone if path not in done}
        for future in as_completed(waiting):
            path = waiting[future]
            done[path] = future.result() | {"stamp": stamps[path]}
            _write(results / f"{_short(path)}.json", json.dumps(done[path], indent=1))
            _write(results / f"{_short(path)}.txt", report(done[path]) + "\n")
            tell(f"{_printable(path.name)}: {done[path]['earned']:g} of {assignment.points}")
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["submission", "points", *assignment.tasks, "imports", "trouble"])
    for path in everyone:
        tasks = [task["earned"] for task in done[path]["tasks"].values()]
        name = path.stem if path.suffix == ".py" and not path.with_suffix("").exists() else path.name
        name = "'" + name if name[0] in "=+-@" else name  # no formula for a spreadsheet
        imported = " ".join(itertools.chain.from_iterable(done[path]["imports"].values()))
        table.writerow(
            [_printable(name), done[path]["earned"], *tasks, _printable(imported), _printable(_reason(done[path]))]
        )
    _write(csv_file, text.getvalue())
    return done


def _stamp(assignment, path, options):
    """A hash of the submission and of everything that judges it."""
    digest = hashlib.sha256(repr(sorted(options.items())).encode())
    hidden = options.get("hidden") or assignment.folder / "hidden"
    try:
        digest.update(find_file(assignment, path).read_bytes())
    except (CourseError, OSError) as error:
        digest.update(str(error).encode())
    for folder in (assignment.folder / "tests", Path(hidden), assignment.folder / "starter"):
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(file.name.encode() + file.read_bytes())
    digest.update((assignment.folder / "assignment.toml").read_bytes())
    return digest.hexdigest()


def _short(path):
    """The name of a submission, or where it is too long for an ending, its beginning and a hash."""
    name = os.fsencode(path.name)
    return path.name if len(name) < 200 else f"{path.name[:40]}-{hashlib.sha256(name).hexdigest()[:16]}"


def _write(path, text):
    with written_safely(path) as file:
        file.write(text.encode("utf-8", "replace"))
