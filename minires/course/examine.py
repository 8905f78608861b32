"""Run the tests of one assignment on one submission: a process of its own, in which no code of the submission runs."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from minires import course
from minires.course import imports, jail, session
from minires.course.assignment import task_of


class _Notes:
    """A pytest plugin: which test ended how, and no test longer than allowed."""

    def __init__(self, running, file, root, hidden):
        self.running, self.file, self.root, self.hidden = running, file, root, hidden

    def note(self, name, passed, message, seconds):
        hidden = self.hidden in (self.root / name.partition("::")[0]).parents
        test = name.rpartition("::")[2]
        row = {"test": test, "task": task_of(test), "hidden": hidden, "passed": passed, "message": message}
        print(json.dumps(row | {"id": name, "seconds": round(seconds, 2)}), file=self.file, flush=True)

    def pytest_collection_finish(self, session):
        for item in session.items:  # first of all: what is not reached does not count as passed
            self.note(item.nodeid, False, "did not run", 0)

    def pytest_runtest_logstart(self, nodeid):
        self.running.begin_test(task_of(nodeid))

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = "" if report.passed else crash.message if crash else str(report.longrepr)
            message = re.sub(r"^minires\.(\w+\.)*", "", message).removeprefix("SubmissionError: ")  # names of modules
            self.note(report.nodeid, report.passed, message[:3000], report.duration)

    def pytest_collectreport(self, report):
        if report.failed:
            self.note(f"{report.nodeid}::test file", False, str(report.longrepr)[:3000], 0)


def main(origin, file, limits, options, visible, hidden, given, allowed):
    """Print one line of JSON about the submission's imports, and if it may have them, one for each test that ran."""
    jail.die_with_parent()
    jail.adopt_orphans()
    jail.limit(AS=(limits["memory_mb"] + 4096) << 20)  # whatever a submission may make this process hold
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    notes, trouble = imports.judge((Path(origin) / file).read_bytes(), given, allowed)
    print(json.dumps({"imports": notes, "trouble": trouble}), file=output, flush=True)
    if trouble:
        return
    course.running = session.Session(origin, limits)
    folders = [folder for folder in (visible, hidden) if os.path.isdir(folder)]
    root = os.path.commonpath(folders)
    fixed = ["-q", "-c", os.devnull, "--rootdir", root, "-p", "no:cacheprovider"]
    watching = _Notes(course.running, output, Path(root), Path(hidden))
    try:
        pytest.main([*fixed, "--import-mode=importlib", *options, *folders], plugins=[watching])
    finally:
        course.running.stop()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
