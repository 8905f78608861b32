"""The course as it is handed out: complete, without solutions for students, with tests that find mistakes."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minires.course import imports
from minires.course.assignment import CourseError, assignments, course_folder, find, release, task_of
from minires.course.prove import LEAST_MUTANTS, prove, table

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "examples" / "assignments"
EVERY = assignments(COURSE)
PAGE = ROOT / "docs" / "instructors.md"
by_name = pytest.mark.parametrize("assignment", EVERY, ids=lambda assignment: assignment.name)


def lines_of(folder, pattern="*"):
    return {
        line.strip()
        for file in sorted(folder.rglob(pattern))
        if file.is_file() and "__pycache__" not in file.parts
        for line in file.read_text(encoding="utf-8").splitlines()
    }


def test_there_are_fifteen_each_of_one_to_four_hours():
    assert [assignment.name[:2] for assignment in EVERY] == [f"{number:02d}" for number in range(1, 16)]
    assert all(1 <= assignment.hours <= 4 for assignment in EVERY)


@by_name
def test_an_assignment_is_complete(assignment):
    tests = "".join((assignment.folder / part).glob("test_*.py").__next__().read_text() for part in ("tests", "hidden"))
    starter = (assignment.folder / "starter" / assignment.file).read_text(encoding="utf-8")
    hand_out = (assignment.folder / "README.md").read_text(encoding="utf-8")
    for task in assignment.tasks:
        assert f"test_task_{task.replace('.', '_')}_" in tests
        assert f"Task {task}" in starter
        assert f"**{task} " in hand_out or f"**{task}, " in hand_out or f", {task} " in hand_out
    for part in ("**Time**", "**Machine**", "What errors to expect", "python -m pytest -k task_"):
        assert part in hand_out
    assert assignment.points == 100
    given = imports.of_starter(assignment.folder / "starter", assignment.file)
    may = imports.rule(given if assignment.allowed_imports is None else assignment.allowed_imports)
    assert f"**Imports** `{assignment.file}` may import {may}; anything else" in hand_out


@by_name
def test_there_are_mutants_for_every_task(assignment):
    mutants = assignment.mutants()
    assert len(mutants) >= LEAST_MUTANTS
    assert {mutant["task"] for mutant in mutants} == set(assignment.tasks)
    assert len({mutant["text"] for mutant in mutants}) >= LEAST_MUTANTS
    for mutant in mutants:
        compile(mutant["text"], mutant["name"], "exec")


def test_a_mutant_whose_text_is_gone_is_an_error(tmp_path):
    copy = tmp_path / "02-activations"
    shutil.copytree(COURSE / "02-activations", copy)
    solution = copy / "solution" / "activations.py"
    solution.write_text(solution.read_text().replace("1 - y**2", "1 - y * y"), encoding="utf-8")
    with pytest.raises(CourseError, match="expected the text of '1 - y in place of 1 - y.2' once .* found it 0 times"):
        find(tmp_path, "2").mutants()


def test_a_release_holds_no_line_of_a_solution(tmp_path):
    release(COURSE, tmp_path / "course")
    for assignment in EVERY:
        folder = tmp_path / "course" / assignment.name
        assert (folder / assignment.file).is_file() and any((folder / "tests").glob("test_*.py"))
        given = lines_of(assignment.folder / "starter") | lines_of(assignment.folder / "tests")
        solution = {line for line in lines_of(assignment.folder / "solution") if len(line) > 12} - given
        hidden = {line for line in lines_of(assignment.folder / "hidden") if len(line) > 12} - given
        assert len(solution) > 5 and len(hidden) > 10
        assert (solution | hidden) & lines_of(folder) == set()
        idioms = 32  # such as "dx = np.zeros(shape, dy.dtype)", which another assignment may give
        assert {line for line in solution & lines_of(tmp_path / "course") if len(line) > idioms} == set()
    names = {path.name for path in (tmp_path / "course").rglob("*")}
    assert not names & {"solution", "hidden", "mutants.toml", "__pycache__"}


def test_a_release_writes_into_an_empty_folder_only(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(CourseError, match="is not an empty folder; nothing was written"):
        release(COURSE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_assignment_is_found_by_number_name_and_folder():
    assert {find(COURSE, name).name for name in ("2", "02", "02-activations", str(COURSE / "02-activations"))} == {
        "02-activations"
    }
    assert course_folder() == COURSE
    assert task_of("tests/test_x.py::test_task_12_3_no_steps[1]") == "12.3" and task_of("test_other") == ""


def test_the_released_tests_fail_by_name_and_pass_once_the_task_is_done(tmp_path):
    release(COURSE, tmp_path / "course")
    folder = tmp_path / "course" / "02-activations"
    command = [sys.executable, "-m", "pytest", "-q", "-k", "task_2_1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    before = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert before.returncode == 1 and "NotImplementedError: Task 2.1" in before.stdout
    shutil.copy(COURSE / "02-activations" / "solution" / "activations.py", folder)
    after = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert after.returncode == 0, after.stdout


@pytest.mark.slow
@by_name
def test_the_tests_of_an_assignment_find_mistakes(assignment):
    rows, faults = prove(assignment)
    assert faults == []
    names = {row.rpartition(" | ")[0] for row in table(rows).splitlines()[2:]}
    assert names == {row.rpartition(" | ")[0] for row in rows_of_the_page() if row.startswith(f"| {assignment.name} ")}


def rows_of_the_page():
    return [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d\d-", line)]


def test_the_page_for_instructors_prints_every_mutant():
    expected = {
        f"| {assignment.name} | {mutant['task']} | {mutant['name']}"
        for assignment in EVERY
        for mutant in assignment.mutants()
    }
    assert {row.rpartition(" | ")[0] for row in rows_of_the_page()} == expected


def test_a_layer_of_ones_own_goes_into_a_resnet_20():
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "extend_a_layer.py"), "--steps", "2"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "backward is the derivative of forward" in done.stdout and "19 ReLUs are leaky now" in done.stdout


@pytest.mark.slow
def test_from_a_clone_to_the_first_passed_task_in_ten_minutes(tmp_path):
    """README's commands, in an empty environment, as a new student would type them."""
    began = time.monotonic()
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "runs", "_build")
    shutil.copytree(ROOT, tmp_path / "minires", ignore=ignored)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MINIRES", "NUMBA", "VIRTUAL"))}
    environment |= {"HOME": str(tmp_path)}

    def type_in(command, folder):
        return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)

    pages = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "examples/assignments/README.md")]
    blocks = [block for page in pages for block in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)]
    install = type_in(next(block for block in blocks if "course release" in block), tmp_path / "minires")
    if "No matching distribution" in install.stderr or "Could not find a version" in install.stderr:
        pytest.skip("pip reaches no index here")
    tests_have_run = (
        install.returncode == 1 and "NotImplementedError: Task 2.1" in install.stdout
    )  # nothing is done yet
    assert install.returncode == 0 or tests_have_run, install.stdout + install.stderr
    folder = tmp_path / "minires" / "my-course" / "02-activations"
    shutil.copy(COURSE / "02-activations" / "solution" / "activations.py", folder)  # the student's work
    passed = type_in(next(block for block in blocks if "pytest -k task_2_1" in block), tmp_path / "minires")
    assert passed.returncode == 0 and " passed" in passed.stdout, passed.stdout + passed.stderr
    assert time.monotonic() - began < 600
