"""Prove the tests of an assignment: the solution passes, the starter fails by name, and mutants are caught."""

import tempfile
from pathlib import Path

from minires.course.grade import grade, threads

LEAST_MUTANTS = 8


def prove(assignment, jobs=None):
    """Return ([(assignment, task, mutant, tests that catch it), ...], [fault, ...])."""
    mutants = assignment.mutants()
    with tempfile.TemporaryDirectory() as folder, threads(jobs) as pool:
        for number, mutant in enumerate(mutants):
            mutant["path"] = Path(folder) / f"{number}.py"
            mutant["path"].write_text(mutant["text"], encoding="utf-8")
        waiting = [pool.submit(grade, assignment, assignment.folder / part) for part in ("solution", "starter")]
        waiting += [pool.submit(grade, assignment, mutant["path"], select=mutant["task"]) for mutant in mutants]
        solved, started, *graded = [future.result() for future in waiting]
    faults = _faults_of_solution(solved) + _faults_of_starter(started)
    if len(mutants) < LEAST_MUTANTS:
        faults.append(f"has {len(mutants)} mutants, expected at least {LEAST_MUTANTS}")
    if untried := set(assignment.tasks) - {mutant["task"] for mutant in mutants}:
        faults.append(f"has no mutant for task {', '.join(sorted(untried))}")
    rows = []
    for mutant, result in zip(mutants, graded):
        tests = result["tasks"][mutant["task"]]["tests"]
        failed = [row["test"] for row in tests if not row["passed"]]
        rows.append((assignment.name, mutant["task"], mutant["name"], f"{len(failed)} of {len(tests)}"))
        if any("NameError" in row["message"] or "SyntaxError" in row["message"] for row in tests):
            faults.append(f"the mutant '{mutant['name']}' is no mistake of mathematics but one of Python")
        if not failed:
            faults.append(f"no test of task {mutant['task']} catches the mutant '{mutant['name']}'")
    return rows, [f"{assignment.name}: {fault}" for fault in faults]


def _rows(result):
    return [(number, row) for number, task in result["tasks"].items() for row in task["tests"]]


def _faults_of_solution(result):
    faults = [result["trouble"]] if result["trouble"] else []
    faults += [f"task {number} has no test" for number, task in result["tasks"].items() if not task["tests"]]
    failed = [row for _, row in _rows(result) if not row["passed"]]
    return faults + [f"the solution fails {row['test']}: {row['message']}" for row in failed]


def _faults_of_starter(result):
    return [
        f"the starter {'passes' if row['passed'] else 'fails'} {row['test']} without 'Task {number}': {row['message']}"
        for number, row in _rows(result)
        if row["passed"] or f"Task {number}" not in row["message"]
    ]


def table(rows):
    """The mutants as a table of Markdown, as docs/instructors.md prints it."""
    lines = ["| assignment | task | mistake | caught by |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
