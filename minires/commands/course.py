"""Release a course to students, or prove that its tests find mistakes."""

from minires.commands.arguments import UsageError
from minires.course import assignment
from minires.course.prove import prove, table


def add_options(parser):
    add = parser.add_argument
    add("action", choices=("release", "check", "list"), help="copy what students get; prove the tests; list them")
    add("target", nargs="?", metavar="DEST|ASSIGNMENT", help="release: a new folder; check: one assignment, else all")
    add("--course", metavar="FOLDER", help="the folder of assignments; default: examples/assignments of the checkout")
    add("--jobs", type=int, default=None, metavar="J", help="check: gradings at one time; default: one for each core")


def run(options):
    course = assignment.course_folder(options.course)
    if options.action == "release":
        if not options.target:
            raise UsageError("course release: give a new folder, as in  minires course release my-course")
        for folder in assignment.release(course, options.target):
            print(folder)
        print("Begin with README.md in one of them; its last lines say how to run the tests.")
        return 0
    every = assignment.assignments(course) if not options.target else [assignment.find(course, options.target)]
    if options.action == "list":
        for one in every:
            print(f"{one.name:<26}{one.hours:>4g} hours  {one.points:>4} points  {one.title}")
        return 0
    rows, wrong = [], []
    for one in every:
        found, faults = prove(one, options.jobs)
        rows, wrong = rows + found, wrong + faults
        print(table(found), flush=True)
    for fault in wrong:
        print(fault)
    verdict = f"{len(wrong)} faults" if wrong else "all as it should be"
    print(f"{len(every)} assignments, {len(rows)} mutants: {verdict}")
    return 1 if wrong else 0
