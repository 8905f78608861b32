"""Grade one submission of an assignment, or a folder of them, each in a closed process."""

import json
from pathlib import Path

from minires.commands.arguments import UsageError, check_folder
from minires.course import jail
from minires.course.assignment import find
from minires.course.grade import grade, grade_all, gradescope, report
from minires.files import written_safely


def add_options(parser):
    add = parser.add_argument
    add("assignment", metavar="ASSIGNMENT", help="its number or name, such as 2 or 02-activations, or its folder")
    add("submission", metavar="SUBMISSION", help="a file, a folder that holds it, or with --csv a folder of them")
    add("--course", metavar="FOLDER", help="the folder of assignments; default: examples/assignments of the checkout")
    add("--hidden", metavar="FOLDER", help="hidden tests in place of the assignment's own")
    add("--seed", type=int, default=0, metavar="S", help="other random numbers for the tests; default 0")
    add("--json", metavar="FILE", help="also write the result in the form of Gradescope's results.json")
    add("--csv", metavar="FILE", help="SUBMISSION is a folder of submissions; write a table, and go on after a stop")
    add("--jobs", type=int, default=None, metavar="J", help="submissions at one time; default: one for each core")


def run(options):
    try:
        import pytest  # noqa: F401  the tests are pytest's
    except ImportError:
        raise UsageError('grade: needs pytest: pip install "minires[test]"') from None
    assignment = find(options.course, options.assignment)
    submission = Path(options.submission)
    if not submission.exists() and not submission.is_symlink():
        raise UsageError(f"grade: no file or folder {submission}")
    if options.hidden and not any(Path(options.hidden).glob("test_*.py")):
        raise UsageError(f"--hidden: no test_*.py in {options.hidden}")
    check_folder("--csv", options.csv)
    check_folder("--json", options.json)
    if options.csv and Path(options.csv).suffix == ".results":
        raise UsageError(f"--csv: {options.csv} is what the folder of the reports is called. Choose another ending")
    missing = [wall for wall, stands in jail.walls().items() if not stands]
    missing += jail.exposed(filter(None, (assignment.folder, options.hidden, submission)))
    if missing:
        print(f"Not isolated on this system: {'; '.join(missing)}. See docs/instructors.md.")
    given = {"hidden": options.hidden, "seed": options.seed}
    if options.csv:
        if not submission.is_dir():
            raise UsageError(f"grade: --csv expects a folder of submissions, got the file {submission}")
        grade_all(assignment, submission, options.csv, jobs=options.jobs, **given)
        print(f"wrote {options.csv}, and the reports beside it in {Path(options.csv).with_suffix('.results')}")
        return 0
    result = grade(assignment, submission, **given)
    print(report(result))
    if options.json:
        with written_safely(options.json) as file:
            file.write(json.dumps(gradescope(result), indent=1).encode())
    return 0 if result["earned"] == result["points"] else 1
