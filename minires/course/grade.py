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

from minires.checks import some
from minires.course import imports, jail
from minires.course.assignment import CourseError
from minires.files import locked, written_safely

MOST_BYTES = 1 << 20  # of a submission


def find_file(assignment, path):
    """The file of a submission: the path itself, or the one of the right name in that folder."""
    path = Path(path)
    found = [path]
    if path.is_dir() and not path.is_symlink():
        try:
            everything = list(itertools.islice(jail.entries(path), jail.MOST_FILES + 1))
        except OSError as error:  # too deep, or closed
            raise CourseError(f"{path} holds a folder that cannot be looked into ({error.strerror}).") from None
        if len(everything) > jail.MOST_FILES:
            raise CourseError(f"{path} holds more than {jail.MOST_FILES} files.")
        found = [Path(entry.path) for entry in everything if entry.name == assignment.file]
        if len(found) != 1:
            which = some(sorted(one.relative_to(path) for one in found) or sorted(entry.name for entry in everything))
            what = f"found {len(found)}{': ' if found else '; it holds '}{which}"
            hint = "Rename it if it has another name; archives are not unpacked."
            hint = "Leave one of them. A folder of many submissions asks for --csv." if found else hint
            raise CourseError(f"expected one file {assignment.file} in {path}, {what}. {hint}")
    (file,) = found
    if file.is_symlink() or not file.is_file():
        raise CourseError(f"expected {file} to be a plain file; links and devices are not opened.")
    if file.suffix != ".py":
        raise CourseError(f"expected {file} to be a folder or a file of Python (.py). Unpack it if it is an archive.")
    if file.stat().st_size > MOST_BYTES:
        raise CourseError(f"{file} is larger than 1 MB.")
    return file


def grade(assignment, path, *, hidden=None, seed=0, select=""):
    """Run visible and hidden tests on a submission, a file or a folder that holds it; return its result as a dict.

    ``hidden`` is a folder of hidden tests in place of the assignment's own, ``seed`` is for the random numbers that
    tests ask for with ``seeded()``, and ``select`` is the one task whose tests run.
    """
    began, rows, found = time.monotonic(), [], []
    try:
        content = find_file(assignment, path).read_bytes()
    except (CourseError, OSError) as error:
        trouble = str(error)
    else:
        with _box() as box:
            starter, origin = assignment.folder / "starter", box / "origin"
            shutil.copytree(starter, origin, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            (origin / assignment.file).write_bytes(content)
            given = imports.of_starter(starter, assignment.file)
            order = {
                "origin": str(origin),
                "file": assignment.file,
                "limits": assignment.limits,
                "options": ["-k", f"test_task_{select.replace('.', '_')}_"] if select else [],
                "visible": str((assignment.folder / "tests").resolve()),
                "hidden": str(Path(hidden or assignment.folder / "hidden").resolve()),
                "given": given,
                "allowed": given if assignment.allowed_imports is None else assignment.allowed_imports,
            }
            rows, found, trouble = _examine(order, assignment.folder.resolve(), seed)
            strays = [row for row in rows if row["task"] not in assignment.tasks and not row["passed"]]
            if strays and not trouble:  # not the submission's fault: a test file that cannot be read stops them all
                trouble = f"{strays[0]['id']} failed: {strays[0]['message'][-1000:]}"
    tasks = {number: task | _earned(task, number, rows) for number, task in assignment.tasks.items()}
    return {
        "assignment": assignment.name,
        "earned": round(sum(task["earned"] for task in tasks.values()), 2),
        "points": assignment.points,
        "seconds": round(time.monotonic() - began, 1),
        "trouble": trouble,
        "imports": {assignment.file: found},
        "tasks": tasks,
    }


def _earned(task, number, rows):
    tests = [row for row in rows if row["task"] == number]
    passed = sum(row["passed"] for row in tests)
    earned = round(task["points"] * passed / len(tests), 2) if tests else 0
    return {"earned": earned, "passed": passed, "tests": tests}


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
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    environment |= {"MINIRES_COURSE_SEED": str(seed), "MINIRES_COURSE_ASSIGNMENT": str(folder)}
    command = [sys.executable, "-m", "minires.course.examine", json.dumps(order)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    most = 40 * order["limits"]["seconds"]
    try:
        output, errors = process.communicate(timeout=most)
        errors = errors.decode(errors="replace")[-1000:]
        trouble = f"the tests' own process failed: {errors}" if process.returncode else ""
    except subprocess.TimeoutExpired:
        jail.kill(process, process.pid)
        output, trouble = process.communicate()[0], f"took longer than {most} seconds in all, and was stopped."
    rows, found = {}, []
    for row in (json.loads(line) for line in output.splitlines() if line.endswith(b"}")):
        if "imports" in row:
            found, trouble = row["imports"], row["trouble"] or trouble
        else:
            rows[row["id"]] = row  # the last word on each test
    return list(rows.values()), found, trouble


# -- results as text ------------------------------------------------------------------------------------------


def report(result):
    """The result as text: what to do, task by task."""
    lines = [f"{result['assignment']}: {result['earned']:g} of {result['points']} points", *_remarks(result)]
    for number, task in result["tasks"].items():
        lines += _of_task(number, task)
    return _printable("\n".join(lines))


def _remarks(result):
    """What is to be said of the file as a whole."""
    ((file, names),) = result["imports"].items()
    notes = f"{file} imports, and its starter does not: {', '.join(names)}" if names else ""
    return [remark for remark in (result["trouble"], notes) if remark]


def _of_task(number, task):
    score = f"{task['earned']:g} of {task['points']}, {task['passed']} of {len(task['tests'])} tests passed"
    lines, before = [f"Task {number}, {task['title']}: {score}"], None
    for row in task["tests"]:
        if not row["passed"]:
            name = row["test"].removeprefix("test_task_" + number.replace(".", "_") + "_").replace("_", " ")
            message = "the same" if row["message"] == before else row["message"].replace("\n", "\n      ")
            lines.append(f"  {'hidden test' if row['hidden'] else 'test'}: {name}\n      {message}")
            before = row["message"]
    return lines


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
            "output": _printable("\n".join(_of_task(number, task))),
            "visibility": "visible",
        }
        for number, task in result["tasks"].items()
    ]
    return {
        "score": result["earned"],
        "execution_time": result["seconds"],
        "output": _printable("\n".join(_remarks(result))),
        "visibility": "visible",
        "tests": tests,
    }


# -- many submissions -----------------------------------------------------------------------------------------


def grade_all(assignment, folder, csv_file, *, jobs=None, tell=print, **options):
    """Grade everything in ``folder``; write a CSV, and beside it one result for each, to resume from."""
    folder, csv_file = Path(folder), Path(csv_file)
    results = csv_file.with_suffix(".results")
    results.mkdir(exist_ok=True)
    ours = (results.name, csv_file.name, f"{csv_file.name}.new")  # the last one may be left by a kill
    ours = ours if os.path.realpath(csv_file.parent) == os.path.realpath(folder) else ()
    everyone = [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "__"))]
    everyone = [path for path in everyone if path.name not in ours]  # none is followed: links may go round in a ring
    if not everyone:
        raise CourseError(f"no submissions in {folder}: expected a file or a folder for each student.")
    with locked(results / ".lock", waiting=f"{csv_file}: another minires grade is at work on it; waiting for its end"):
        stamps = {path: _stamp(assignment, path, options) for path in everyone}
        done = {path: kept for path in everyone if (kept := _kept(results, path)).get("stamp") == stamps[path]}
        tell(f"{len(everyone)} submissions, {len(done)} of them graded before")
        with threads(jobs) as pool:
            waiting = {pool.submit(grade, assignment, path, **options): path for path in everyone if path not in done}
            for future in as_completed(waiting):
                path = waiting[future]
                done[path] = future.result() | {"stamp": stamps[path]}
                _write(results / f"{_short(path)}.txt", report(done[path]) + "\n")
                _write(results / f"{_short(path)}.json", json.dumps(done[path], indent=1))  # last: it says "done"
                tell(f"{_printable(path.name)}: {done[path]['earned']:g} of {assignment.points}")
        _write(csv_file, _table(assignment, {path: done[path] for path in everyone}))
    return done


@contextmanager
def threads(jobs):
    """A pool of threads, by default one for each core. After Ctrl-C, or an error, they begin nothing more."""
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _table(assignment, results):
    """The text of a CSV with a line for each submission."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["submission", "points", *assignment.tasks, "imports", "trouble"])
    for path, result in results.items():
        name = path.stem if path.suffix == ".py" and not path.with_suffix("").exists() else path.name
        points = [result["earned"], *(task["earned"] for task in result["tasks"].values())]
        (imported,) = result["imports"].values()
        table.writerow([_cell(name), *points, _cell(" ".join(imported)), _cell(_reason(result))])
    return text.getvalue()


def _cell(text):
    """Text that neither steers the terminal nor is a formula for a spreadsheet."""
    return _printable(f"'{text}" if text.startswith(tuple("=+-@")) else text)


def _reason(result):
    """Why a submission got no points, in one line; "" where it got some."""
    messages = [row["message"] for task in result["tasks"].values() for row in task["tests"] if not row["passed"]]
    if result["trouble"] or result["earned"] or not messages:
        return result["trouble"]
    return max(messages, key=messages.count).partition("\n")[0]


def _stamp(assignment, path, options):
    """A hash of the submission and of everything that judges it."""
    digest = hashlib.sha256(repr(sorted(options.items())).encode())
    try:
        digest.update(find_file(assignment, path).read_bytes())
    except (CourseError, OSError) as error:
        digest.update(os.fsencode(str(error)))
    hidden = options.get("hidden") or assignment.folder / "hidden"
    for folder in (assignment.folder / "tests", hidden, assignment.folder / "starter"):
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(file.name.encode() + file.read_bytes())
    digest.update((assignment.folder / "assignment.toml").read_bytes())
    return digest.hexdigest()


def _kept(results, path):
    """The result that an earlier run left, or {}."""
    with suppress(OSError, ValueError, TypeError):  # the last where it holds no dict
        return dict(json.loads((results / f"{_short(path)}.json").read_text(encoding="utf-8")))
    return {}


def _short(path):
    """The name of a submission, or where it is too long for an ending, its beginning and a hash."""
    name = os.fsencode(path.name)
    return path.name if len(name) < 200 else f"{path.name[:40]}-{hashlib.sha256(name).hexdigest()[:16]}"


def _write(path, text):
    with written_safely(path) as file:
        file.write(text.encode("utf-8", "replace"))
