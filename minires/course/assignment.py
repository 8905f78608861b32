"""An assignment: a folder with a hand-out, a starter, visible and hidden tests, a solution and its mutants.

::

    02-activations/
        README.md           the hand-out
        assignment.toml     title, file, tasks with their points; may have limits and allowed_imports
        starter/            the file to fill in, and whatever else is given
        tests/              visible tests: test_task_2_1_...
        hidden/             the instructor's tests
        solution/           the file filled in
        mutants.toml        edits of the solution, each with the task whose tests must fail
"""

import re
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

LIMITS = {"seconds": 20, "memory_mb": 2048, "file_mb": 16, "disk_mb": 64, "processes": 32}


class CourseError(ValueError):
    """Something the person at the keyboard can put right; printed as one line."""


@dataclass
class Assignment:
    folder: Path
    title: str
    file: str  # what a student hands in
    tasks: dict  # "2.1": {"title": ..., "points": ...}
    hours: float
    limits: dict = field(default_factory=dict)
    allowed_imports: list = None  # default: what the starter imports

    @property
    def name(self):
        return self.folder.name

    @property
    def points(self):
        return sum(task["points"] for task in self.tasks.values())

    def mutants(self):
        """The table of mutants, each with the solution's text as it edits it."""
        solution = (self.folder / "solution" / self.file).read_text(encoding="utf-8")
        mutants = tomllib.loads((self.folder / "mutants.toml").read_text(encoding="utf-8"))["mutant"]
        for mutant in mutants:
            if solution.count(mutant["old"]) != 1:
                raise CourseError(
                    f"{self.folder / 'mutants.toml'}: expected the text of '{mutant['name']}' once in the solution, "
                    f"found it {solution.count(mutant['old'])} times: {mutant['old']!r}"
                )
            mutant["text"] = solution.replace(mutant["old"], mutant["new"])
        return mutants


def read(folder):
    """Return the Assignment in a folder."""
    try:
        table = tomllib.loads((folder / "assignment.toml").read_text(encoding="utf-8"))
        table["limits"] = LIMITS | table.get("limits", {})
        return Assignment(folder, **table)
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise CourseError(f"{folder} is no assignment: {error}") from None


def course_folder(given=None):
    """The folder of assignments: the one given, or that of a checkout; a wheel has none."""
    folder = Path(given) if given else Path(__file__).parents[2] / "examples" / "assignments"
    if not any(folder.glob("*/assignment.toml")):
        hint = "" if given else " They are in the repository, not in the wheel: clone it, or give --course FOLDER."
        raise CourseError(f"no assignments in {folder}.{hint}")
    return folder


def assignments(folder):
    return [read(path.parent) for path in sorted(folder.glob("*/assignment.toml"))]


def find(folder, name):
    """The assignment called ``name``, or whose number it is: 2, 02, 02-activations, or a path."""
    if (Path(name) / "assignment.toml").is_file():
        return read(Path(name).resolve())
    known = assignments(course_folder(folder))
    for assignment in known:
        number = assignment.name.split("-")[0]
        if name in (assignment.name, number, number.lstrip("0")):
            return assignment
    raise CourseError(f"no assignment {name}; there are: {', '.join(one.name for one in known)}")


def task_of(test):
    """The task that a test belongs to, by its name: "2.1" for test_task_2_1_relu_is_zero_below_zero."""
    found = re.search(r"test_task_(\d+)_(\d+)", test)
    return f"{found[1]}.{found[2]}" if found else ""


def release(course, destination):
    """Copy what students get: hand-outs, starters and visible tests. Returns the folders made."""
    destination = Path(destination)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise CourseError(f"{destination} is there already and is not an empty folder; nothing was written.")
    made = []
    for assignment in assignments(course_folder(course)):
        target = destination / assignment.name
        clean = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(assignment.folder / "starter", target, ignore=clean)
        shutil.copytree(assignment.folder / "tests", target / "tests", ignore=clean)
        for name in ("README.md", "assignment.toml"):
            shutil.copy(assignment.folder / name, target / name)
        made.append(target)
    (destination / "pytest.ini").write_text("[pytest]\naddopts = --tb=short\n", encoding="utf-8")
    return made
