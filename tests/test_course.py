"""Grading: a submission gets the points it deserves, and can do nothing else."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from unittest import mock

import numpy as np
import pytest

from minires.cli import main
from minires.course import assignment, imports, jail, session
from minires.course.grade import find_file, grade, grade_all, gradescope, report

COURSE = Path(__file__).parents[1] / "examples" / "assignments"
ACTIVATIONS = assignment.find(COURSE, "2")
STRICT = replace(ACTIVATIONS, limits=ACTIVATIONS.limits | {"seconds": 4, "memory_mb": 1024})
QUICK = replace(STRICT, allowed_imports=["minires", "sys", "no_such_module"])  # the walls, not the text, are tested
SOLUTION = (ACTIVATIONS.folder / "solution" / "activations.py").read_text(encoding="utf-8")
RELU_FORWARD = "        positive = x > 0\n"
needs_linux_walls = pytest.mark.skipif(not all(jail.walls().values()), reason=f"this system has {jail.walls()}")


def points(text, tmp_path, **options):
    """Grade a text as a submission for the activations; return the result."""
    file = tmp_path / "activations.py"
    file.write_text(text, encoding="utf-8")
    return grade(QUICK, file, **options)


def earned(result):
    return {number: task["earned"] for number, task in result["tasks"].items()}


def messages(result):
    return "\n".join(row["message"] for task in result["tasks"].values() for row in task["tests"])


ALL = {"2.1": 20, "2.2": 25, "2.3": 25, "2.4": 30}


def test_the_solution_gets_all_points(tmp_path):
    assert earned(points(SOLUTION, tmp_path)) == ALL


@pytest.mark.parametrize("y, dx, says", [("x", "dy", "y is x"), ("0 * x", "0 * dy", "y does not move when x does")])
def test_a_layer_that_does_nothing_passes_no_check_of_its_derivative(y, dx, says, tmp_path):
    body = f"        return self._remember({y}, None)\n\n    def backward(self, dy):\n"
    body += f"        self._recall(dy)\n        return {dx}\n"
    tanh = SOLUTION.index("    def forward", SOLUTION.index("class Tanh"))
    text = SOLUTION[:tanh] + "    def forward(self, x):\n" + body + "\n\n" + SOLUTION[SOLUTION.index("class GELU") :]
    result = points(text, tmp_path, select="2.3")
    assert result["tasks"]["2.3"]["earned"] == 0 and says in messages(result)


def test_a_mistake_costs_its_own_task_and_is_explained_as_check_layer_does(tmp_path):
    result = points(SOLUTION.replace("dy * (1 - y**2)", "dy * (1 - y)"), tmp_path)
    assert {task for task in ALL if earned(result)[task] < ALL[task]} == {"2.3"}
    text = report(result)
    number = 1 + SOLUTION[: SOLUTION.index("def backward", SOLUTION.index("class Tanh"))].count("\n")
    line = f"Look at backward in activations.py, line {number}."
    for part in ("Task 2.3, tanh: ", "dx is wrong at", "Worst at [", "numeric", "analytic", "ratio", line):
        assert part in text


@pytest.mark.parametrize(
    "line, name",
    {
        "from minires import ReLU": "minires.ReLU",
        "from minires.layers import ReLU as R": "minires.layers.ReLU",
        "from minires import *": "minires.*",
        "import minires\nReLU = minires.ReLU": "minires.ReLU",
        "import minires as m\nReLU = getattr(m, 'ReLU')": "minires.*",
        "import minires.layers.activations as a": "minires.layers.activations",
        "import torch": "torch",
        "from scipy.special import erf": "scipy.special.erf",
        "import importlib": "importlib",
        "m = __import__('min' + 'ires')": "__import__",
        "import sys\nm = sys.modules['minires']": "sys.modules",
        "R = Layer.__subclasses__()": "__subclasses__",
        "exec('import minires')": "exec",
    }.items(),
)
def test_what_an_assignment_asks_for_is_not_imported(line, name):
    given = imports.of_starter(ACTIVATIONS.folder / "starter", "activations.py")
    notes, trouble = imports.judge(f"{SOLUTION}\n{line}\n".encode(), given, given)
    last = len(SOLUTION.splitlines()) + 1 + len(line.splitlines())
    assert name in notes
    assert trouble.startswith("No points for this file: it uses ") and f"{name} in line {last}" in trouble
    assert trouble.endswith(
        "This assignment allows the standard library, numpy, minires.Layer, minires.Parameter, minires.Buffer."
    )


@pytest.mark.parametrize(
    "line, notes",
    {
        "import math, numpy as n": [],
        "from minires.layer import Layer": [],
        "import minires\nL = minires.Layer": [],
        "from minires import Parameter\nimport os.path": ["minires.Parameter", "os.path"],
        "from scipy": [],  # a mistake of syntax is for the tests to tell
        "class A:\n    def eval(self): self.eval(); self.modules": [],
    }.items(),
)
def test_what_anybody_may_import_costs_nothing(line, notes):
    given = imports.of_starter(ACTIVATIONS.folder / "starter", "activations.py")
    assert imports.judge(f"{SOLUTION}\n{line}\n".encode(), given, given) == (notes, "")


def test_a_file_nested_too_deep_to_read_gets_no_points():
    assert "nested too deep" in imports.judge(b"-" * 100_000 + b"1", [], [])[1]


def test_every_solution_imports_no_more_than_its_assignment_allows():
    for one in assignment.assignments(COURSE):
        given = imports.of_starter(one.folder / "starter", one.file)
        for text in [(one.folder / "solution" / one.file).read_text(), *(mutant["text"] for mutant in one.mutants())]:
            assert imports.judge(text.encode(), given, one.allowed_imports or given)[1] == ""


def test_an_import_of_the_solved_layer_is_noted_everywhere_and_gets_nothing(tmp_path):
    folder = tmp_path / "collected"
    folder.mkdir()
    (folder / "eve.py").write_text("from minires import GELU, LeakyReLU, ReLU, Tanh\n", encoding="utf-8")
    (result,) = grade_all(STRICT, folder, tmp_path / "grades.csv", jobs=1, tell=lambda said: None).values()
    assert result["earned"] == 0 and result["imports"]["activations.py"] == [
        f"minires.{name}" for name in ("GELU", "LeakyReLU", "ReLU", "Tanh")
    ]
    assert "it uses minires.GELU in line 1, minires.LeakyReLU in line 1" in report(result)
    assert "activations.py imports, and its starter does not: minires.GELU, minires.LeakyReLU" in report(result)
    assert "its starter does not: minires.GELU" in gradescope(result)["output"]
    (row,) = csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8"))
    assert row["imports"].startswith("minires.GELU minires.LeakyReLU")
    assert "it uses minires.GELU" in row["trouble"] and row["points"] == "0"


def test_an_instructor_may_allow_more_imports(tmp_path):
    copy = tmp_path / "02-activations"
    shutil.copytree(ACTIVATIONS.folder, copy)
    toml = copy / "assignment.toml"
    toml.write_text('allowed_imports = ["minires.ReLU"]\n' + toml.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "activations.py").write_text("from minires import ReLU\n", encoding="utf-8")
    result = grade(assignment.read(copy), tmp_path / "activations.py", select="2.1")
    assert result["tasks"]["2.1"]["earned"] > 0 and result["trouble"] == ""
    assert result["imports"] == {"activations.py": ["minires.ReLU"]}


# What is done in ReLU.forward costs task 2.1 alone.
HOSTILE_CALLS = {
    "loops": "while True: pass",
    "sleeps": "import time; time.sleep(1000)",
    "exits": "import os; os._exit(0)",
    "exits politely": "raise SystemExit(0)",
    "interrupts": "raise KeyboardInterrupt",
    "registers an exit": "import atexit, os; atexit.register(lambda: os._exit(0)); raise SystemExit",
    "kills its parent": "import os, signal; os.kill(os.getppid(), signal.SIGKILL); os._exit(1)",
    "kills everybody": "import os, signal; os.kill(-1, signal.SIGKILL); os._exit(1)",
    "kills its group": "import os, signal; os.killpg(0, signal.SIGKILL)",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "loops at its exit": "import atexit\n        def f():\n            while True: pass\n"
    "        atexit.register(f); raise SystemExit",
    "ignores every signal": "import signal\n"
    "        for s in set(signal.Signals) - {9, 19}: signal.signal(s, signal.SIG_IGN)\n"
    "        while True: pass",
    "waits for what is typed": "import sys\n        while True: sys.stdin.read(1)",
    "mounts": "import ctypes\n        l = ctypes.CDLL(None); l.unshare(0x10020000)\n"
    "        if l.mount(b'none', b'.', b'tmpfs', 0, None) and l.mount(None, b'/', None, 4128, None): raise OSError",
    "kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL); os.abort()",
    "eats memory": "a = [bytearray(1 << 20) for _ in range(10**6)]",
    "prints for ever": "while True: print('x' * 10000)",
    "writes a large file": "f = open('big', 'wb')\n        while True: f.write(bytes(1 << 20))",
    "writes many files": "for i in range(10**9): open(f'f{i}', 'wb').write(bytes(1 << 20))",
    "writes to every pipe": "import os\n        for i in range(100):\n            try: os.write(i, b'x' * 100)\n"
    "            except OSError: pass",
    "closes every pipe": "import os; os.closerange(0, 100)",
    "recurses": "f = lambda: f(); f()",
    "returns objects": "return self._remember(np.array([object()] * x.size).reshape(x.shape), None)",
    "returns itself": "return self",
    "returns nothing": "return None",
    "returns too much": "return np.zeros(10**8)",
    "raises what cannot be shown": "class E(Exception):\n            def __str__(self): return self.no\n"
    "        raise E",
    "has a bad name": "class E(Exception): pass\n        E.__name__ = 'SystemExit'; raise E",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE_CALLS)
def test_a_submission_that(what, tmp_path):
    began = time.monotonic()
    result = points(SOLUTION.replace(RELU_FORWARD, f"        {HOSTILE_CALLS[what]}\n"), tmp_path)
    assert earned(result) == ALL | {"2.1": 0}, report(result)
    assert result["trouble"] == "" and time.monotonic() - began < 200


def test_a_submission_that_calls_a_function_of_the_tests_for_ever_is_stopped(tmp_path):
    checker = assignment.find(COURSE, "5")
    text = (checker.folder / "solution" / "checker.py").read_text(encoding="utf-8")
    for_ever = "    while True:\n        forward(x)\n"
    start = "    dy = np.random.default_rng((seed, 1))"
    (tmp_path / "checker.py").write_text(text.replace(start, for_ever + start), encoding="utf-8")
    quick = replace(checker, limits=checker.limits | {"seconds": 1})
    result = grade(quick, tmp_path / "checker.py", select="5.3")
    assert result["tasks"]["5.3"]["earned"] == 0 and result["trouble"] == ""
    assert "took longer than 1 seconds" in messages(result)


def test_who_changes_the_x_of_a_test_cannot_have_the_answer_made_of_it(tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "test_mine.py").write_text(
        'import numpy as np\nfrom minires.course import submitted\n\nmine = submitted(__file__, "activations.py")\n'
        "X = np.ones(3)\n\n\ndef test_task_2_1_relu():\n    assert np.all(mine.ReLU().forward(X) == np.maximum(X, 0))\n"
        "\n\ndef test_task_2_1_nothing_is_left_of_it():\n    assert np.all(X == 1)\n",
        encoding="utf-8",
    )
    trick = "        x[...] = -1; return self._remember(np.zeros(3), None)\n"
    result = points(SOLUTION.replace(RELU_FORWARD, trick), tmp_path, hidden=hidden, select="2.1")
    rows = [row for row in result["tasks"]["2.1"]["tests"] if row["hidden"]]
    assert [row["passed"] for row in rows] == [False, True]
    assert "writes into an array that it was given" in rows[0]["message"]


def test_tests_that_did_not_run_do_not_count_as_passed(tmp_path, monkeypatch):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "test_end.py").write_text(
        "import os\n\n\ndef test_task_2_1_first():\n    pass\n\n\ndef test_task_2_1_second():\n    os._exit(3)\n",
        encoding="utf-8",
    )
    result = points(SOLUTION, tmp_path, hidden=hidden, select="2.1")
    assert result["tasks"]["2.1"]["earned"] < 20 and "own process failed" in result["trouble"]
    assert "did not run" in messages(result)


def test_a_test_file_that_cannot_be_read_is_named_in_the_report(tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "test_mine.py").write_text("import no_such_module\n", encoding="utf-8")
    result = points(SOLUTION, tmp_path, hidden=hidden)
    assert result["earned"] == 0 and "hidden/test_mine.py::test file failed: " in result["trouble"]
    assert "No module named 'no_such_module'" in report(result)


HOSTILE_FILES = {
    "loops": "while True: pass",
    "exits": "import os; os._exit(0)",
    "forks for ever": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "starts threads for ever": "import threading, time\nwhile True:\n"
    "    threading.Thread(target=time.sleep, args=(99,)).start()",
    "closes every pipe": "import os; os.closerange(0, 100)",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "takes away its own answers": "import gc\nfor o in gc.get_objects():\n"
    "    if type(o).__name__ == 'Worker': type(o).send = lambda *a: None",
    "has a mistake of syntax": "def f(:",
    "is no text": "\0\1\2",
    "imports what is not there": "import no_such_module",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE_FILES)
def test_a_file_that(what, tmp_path):
    began = time.monotonic()
    result = points(HOSTILE_FILES[what] + "\n" + SOLUTION, tmp_path)
    assert result["earned"] == 0 and result["trouble"] == ""
    assert all(task["tests"] for task in result["tasks"].values())
    assert ") (" not in messages(result)  # the place is said once
    assert time.monotonic() - began < 200


HARMLESS = {
    "changes the checker": "import minires.gradcheck as g; g.check_layer = lambda *a, **k: None\n"
    "import minires; minires.check_layer = g.check_layer",
    "changes the tests of numpy": "import numpy.testing as t\nt.assert_allclose = lambda *a, **k: None",
    "changes the layer": "import minires.layer as l; l.Layer._recall = l.Layer._recall",
    "starts a thread that spins": "import threading\ndef spin():\n    while True: pass\n"
    "threading.Thread(target=spin, daemon=True).start()",
    "rings a bell": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\nsignal.setitimer(0, 0.05, 0.05)",
    "removes its folder": "import shutil, os; shutil.rmtree(os.environ['HOME'], ignore_errors=True)",
    "closes what it writes to": "import sys; sys.stdin.close(); sys.stdout.close(); sys.stderr.close()",
    "leaves a process behind": "import os\nif os.fork() == 0:\n    os.setsid()\n    import time; time.sleep(1000)",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", HARMLESS)
def test_it_helps_nobody_that_a_submission(what, tmp_path):
    wrong = SOLUTION.replace("dy * (1 - y**2)", "dy * (1 - y)")
    result = points(HARMLESS[what] + "\n" + wrong, tmp_path)
    assert earned(result)["2.3"] < 25 and result["trouble"] == "", report(result)
    if "spins" not in what:  # that one takes its own time away
        assert earned(result) == ALL | {"2.3": earned(result)["2.3"]}, report(result)


@pytest.mark.slow
@needs_linux_walls
def test_a_submission_sees_no_tests_no_other_submissions_no_processes_and_no_network(tmp_path):
    other = tmp_path / "bob" / "activations.py"
    other.parent.mkdir()
    other.write_text("secret", encoding="utf-8")
    hidden = ACTIVATIONS.folder / "hidden" / "test_activations_hidden.py"
    looks = f"""
import os, socket, sys
def look(*todo):
    try:
        return repr(todo[0](*todo[1:]))
    except BaseException as error:
        return type(error).__name__
seen = [
    look(lambda: open({str(hidden)!r}).read()),
    look(lambda: open({str(other)!r}).read()),
    look(os.listdir, {str(tmp_path)!r}),
    look(lambda: open("/etc/shadow").read()),
    look(lambda: open({str(tmp_path / "mine")!r}, "w")),
    look(os.getppid),
    look(lambda: [p for p in os.listdir("/proc") if p.isdigit()]),
    look(socket.create_connection, ("127.0.0.1", 22), 1),
    look(lambda: sorted(k for k in os.environ if "SEED" in k or "SECRET" in k)),
    look(lambda: [m for m in sys.modules if m.split(".")[0] in ("pytest", "_pytest")]),
]
raise RuntimeError(" ".join(seen))
"""
    result = points(looks + SOLUTION, tmp_path / "bob", select="2.1")
    denied = " ".join(["PermissionError"] * 5)
    assert f"RuntimeError: {denied} 0 ['1'] " in messages(result)
    assert messages(result).split("['1'] ")[1].startswith(("PermissionError [] []", "OSError [] []"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_nothing_is_left_running_or_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    mark = f"sleep 987{os.getpid()}"
    spawn = f"import os, subprocess\nsubprocess.Popen({mark.split()!r}, start_new_session=True)\n"
    assert points(spawn + SOLUTION, tmp_path, select="2.1")["tasks"]["2.1"]["earned"] == 20
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(mark.replace(" ", "\0").encode() in command for command in commands)
    assert [path.name for path in tmp_path.iterdir()] == ["activations.py"]


def test_links_and_devices_and_large_files_are_not_opened(tmp_path):
    (tmp_path / "link.py").symlink_to(ACTIVATIONS.folder / "solution" / "activations.py")
    result = grade(QUICK, tmp_path / "link.py")
    assert result["earned"] == 0 and "links and devices are not opened" in result["trouble"]
    (tmp_path / "large.py").write_bytes(b"#" * (2 << 20))
    assert "larger than 1 MB" in grade(QUICK, tmp_path / "large.py")["trouble"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo.py")
        assert "not opened" in grade(QUICK, tmp_path / "fifo.py")["trouble"]


def test_a_folder_is_searched_for_the_one_file_of_the_right_name(tmp_path):
    with pytest.raises(assignment.CourseError, match="expected one file activations.py in .*, found 0"):
        find_file(ACTIVATIONS, tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "activations.py").write_text("", encoding="utf-8")
    assert find_file(ACTIVATIONS, tmp_path) == tmp_path / "src" / "activations.py"
    (tmp_path / "activations.py").write_text("", encoding="utf-8")
    two = r"found 2: (src/)?activations.py, (src/)?activations.py. Leave one of them. A folder .* --csv"
    with pytest.raises(assignment.CourseError, match=two):
        find_file(ACTIVATIONS, tmp_path)


def test_what_is_no_submission_has_a_line_in_the_table_that_says_so(tmp_path):
    folder = tmp_path / "collected"
    (folder / "bob").mkdir(parents=True)
    for name in ("ada.zip", "bob/homework.tar.gz", "notes.txt"):
        (folder / name).write_bytes(b"PK")
    (folder / "eve").symlink_to(ACTIVATIONS.folder / "hidden")
    (folder / "fay.py").symlink_to(ACTIVATIONS.folder / "hidden" / "test_activations_hidden.py")
    (folder / "ida").symlink_to("ida")
    grade_all(QUICK, folder, tmp_path / "grades.csv", jobs=1, tell=lambda said: None)
    rows = {row["submission"]: row for row in csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8"))}
    assert list(rows) == ["ada.zip", "bob", "eve", "fay", "ida", "notes.txt"]
    assert {row["points"] for row in rows.values()} == {"0"}
    assert "a folder or a file of Python (.py). Unpack it if it is an archive." in rows["ada.zip"]["trouble"]
    assert "found 0; it holds homework.tar.gz. Rename it if it has another name; archives" in rows["bob"]["trouble"]
    assert all("links and devices are not opened" in rows[name]["trouble"] for name in ("eve", "fay", "ida"))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures in /proc")
@pytest.mark.parametrize(
    "does, says",
    {
        "for i in range(9):\n    if os.fork() == 0:\n        a = []\n        for _ in range(300):\n"
        "            a.append(bytes([1]) * (4 << 20)); time.sleep(0.01)\n        time.sleep(99)\n"
        "time.sleep(99)": "took more than 1024 MB of memory",
        "for i in range(10**9): open(f'{i}', 'w').close()": "made more than 5000 files",
        "keep = []\nfor i in range(90):\n    keep.append(os.open('u', os.O_RDWR | os.O_CREAT)); os.unlink('u')\n"
        "    os.write(keep[-1], bytes(8 << 20))\ntime.sleep(99)": "wrote more than 64 MB",
        "keep = [os.memfd_create('m') for _ in range(30)]\n"
        "for f in keep: os.write(f, bytes(8 << 20))\ntime.sleep(99)": "wrote more than 64 MB",
    }.items(),
    ids=["children that eat", "files without end", "files without a name", "memory with a file's face"],
)
def test_what_a_submission_takes_is_measured_all_the_time(does, says, tmp_path):
    result = points(f"import os, time\n{does}\n" + SOLUTION, tmp_path, select="2.1")
    assert result["earned"] == 0 and says in messages(result)


def test_one_array_returned_again_and_again_is_right_each_time(tmp_path):
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin" / "m.py").write_text("import numpy as np\ny = np.ones(3)\ndef f(x): return y\n")
    running = session.Session(tmp_path / "origin", dict(assignment.LIMITS))
    try:
        f = running.module("m.py").f
        assert [f(np.zeros(2)).tolist() for _ in range(3)] == 3 * [[1, 1, 1]]
    finally:
        running.stop()


@pytest.mark.slow
def test_an_answer_that_nobody_asked_for_costs_its_own_task(tmp_path):
    twice = "import gc\n        w = next(o for o in gc.get_objects() if type(o).__name__ == 'Worker')\n"
    twice += "        w.send({'result': None}); positive = x > 0\n"
    result = points(SOLUTION.replace(RELU_FORWARD, f"        {twice}"), tmp_path)
    assert earned(result) == ALL | {"2.1": 0} and "nobody had asked for" in messages(result)


@pytest.mark.slow
@needs_linux_walls
def test_no_memory_is_hidden_in_shared_segments_and_messages(tmp_path):
    text = "import ctypes\nc = ctypes.CDLL(None)\nc.unshare(0x18000000)  # a namespace where it would be allowed\n"
    text += "if max(c.shmget(0, 4096, 0o1600), c.msgget(0, 0o1600)) >= 0: raise RuntimeError\n" + SOLUTION
    assert points(text, tmp_path, select="2.1")["tasks"]["2.1"]["earned"] == 20


@pytest.mark.slow
def test_a_bomb_for_the_third_call_costs_its_own_task(tmp_path):
    bomb = "        globals()['N'] = globals().get('N', 0) + 1\n        while N > 2: pass\n"
    result = points(SOLUTION.replace(RELU_FORWARD, bomb + RELU_FORWARD), tmp_path)
    assert 0 < earned(result)["2.1"] < 20 and "took longer than 4 seconds" in messages(result)
    assert all(earned(result)[task] == ALL[task] for task in ("2.2", "2.3", "2.4")), report(result)


@pytest.mark.skipif(os.name == "nt", reason="deep folders by chdir")
@pytest.mark.parametrize(
    "levels, measured, found",
    [
        (1200, "", "found 0"),
        (2500, "made a folder that cannot be looked into (", "deep holds a folder that cannot be looked into ("),
    ],
    ids=["deeper than Python's stack", "deeper than a path is long"],
)
def test_a_deep_folder_is_measured_and_removed(levels, measured, found, tmp_path):
    here = os.open(".", os.O_RDONLY)
    (tmp_path / "deep").mkdir()
    os.chdir(tmp_path / "deep")
    for _ in range(levels):
        os.mkdir("d")
        os.chdir("d")
    os.fchdir(here)
    os.close(here)
    assert jail.excess([], tmp_path, ACTIVATIONS.limits).rpartition("File name")[0] == measured
    assert found in grade(QUICK, tmp_path / "deep")["trouble"]
    jail.remove(tmp_path / "deep")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="folders are closed by their mode")
def test_a_folder_closed_to_its_owner_is_noticed_and_removed():
    nobody = 65534  # root may open every folder
    try:
        os.seteuid(nobody if jail.ROOT else os.geteuid())
        folder = Path(tempfile.mkdtemp())
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b").chmod(0)
        (folder / "a").chmod(0)
        found = jail.excess(os.getpid(), folder, ACTIVATIONS.limits)
        jail.remove(folder)
    finally:
        os.seteuid(os.getuid())
    assert found == "made a folder that cannot be looked into (Permission denied)" and not folder.exists()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="children die with their parent on Linux only")
def test_a_killed_grader_leaves_no_process_and_the_next_one_clears_its_folder(tmp_path, monkeypatch):
    (tmp_path / "activations.py").write_text("while True: pass", encoding="utf-8")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    command = [sys.executable, "-m", "minires", "grade", "2", str(tmp_path / "activations.py")]
    grader = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL)
    wait_until(lambda: list(tmp_path.glob("minires-grade-*/work1/*.py")))
    grader.kill()
    grader.wait()
    mark = os.fsencode(tmp_path / "minires-grade")
    wait_until(lambda: not any(mark in path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")))
    points(SOLUTION, tmp_path, select="2.1")
    assert [path.name for path in tmp_path.iterdir()] == ["activations.py"]


def wait_until(condition, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            if condition():
                return
        time.sleep(0.2)
    raise TimeoutError


# -- many submissions -----------------------------------------------------------------------------------------


@pytest.fixture
def collected(tmp_path):
    """Three submissions: right, half right, hostile."""
    folder = tmp_path / "collected"
    half = SOLUTION.replace("dy * (1 - y**2)", "dy").replace("return factor * dy", "return dy")
    for name, text in {"ada": SOLUTION, "bob": half, "=eve": "import os; os._exit(0)\n" + SOLUTION}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "activations.py").write_text(text, encoding="utf-8")
    return folder


def test_a_folder_of_submissions_becomes_a_csv_and_goes_on_after_a_stop(collected, tmp_path):
    said, table = [], tmp_path / "grades.csv"
    grade_all(QUICK, collected, table, jobs=2, tell=said.append)
    rows = {row["submission"]: row for row in csv.DictReader(table.open(encoding="utf-8"))}
    assert list(rows) == ["'=eve", "ada", "bob"]
    assert "ended in the middle of a call" in rows["'=eve"]["trouble"] and rows["ada"]["trouble"] == ""
    assert float(rows["ada"]["points"]) == 100 and float(rows["'=eve"]["points"]) == 0
    assert 0 < float(rows["bob"]["2.2"]) < 25 and float(rows["bob"]["2.4"]) == 30
    assert "Task 2.2" in (tmp_path / "grades.results" / "bob.txt").read_text(encoding="utf-8")
    (tmp_path / "grades.results" / "ada.json").write_text("5", encoding="utf-8")  # nothing of ours
    (collected / "bob" / "activations.py").write_text(SOLUTION, encoding="utf-8")
    table.unlink()
    said.clear()
    grade_all(QUICK, collected, table, jobs=2, tell=said.append)
    assert said[0] == "3 submissions, 1 of them graded before" and len(said) == 3
    assert {float(row["points"]) for row in csv.DictReader(table.open(encoding="utf-8"))} == {0, 100}


def test_a_stop_between_report_and_result_leaves_nobody_without_a_report(tmp_path, monkeypatch):
    (tmp_path / "collected").mkdir()
    (tmp_path / "collected" / "ada.py").write_text("import no_such_module", encoding="utf-8")
    written = []

    def stop_after_one(path, text):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        path.write_text(text, encoding="utf-8")

    def grade_them():
        return grade_all(STRICT, tmp_path / "collected", tmp_path / "grades.csv", jobs=1, tell=lambda said: None)

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr("minires.course.grade._write", stop_after_one)
        grade_them()
    grade_them()
    assert sorted(path.name for path in (tmp_path / "grades.results").iterdir()) == ["ada.py.json", "ada.py.txt"]


def test_ctrl_c_ends_what_is_graded_and_begins_nothing_more(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / f"{number}.py").write_text("", encoding="utf-8")
    graded = []
    monkeypatch.setattr("minires.course.grade.grade", lambda *a, **k: graded.append(time.sleep(0.1)) or {"earned": 0})
    monkeypatch.setattr("minires.course.grade.report", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        grade_all(QUICK, tmp_path, tmp_path / "grades.csv", jobs=2, tell=lambda said: None)
    assert len(graded) <= 6


def test_two_graders_of_one_table_grade_everybody_once(tmp_path, monkeypatch):
    for name in "abcdef":
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    graded = []

    def slowly(assignment, path, **options):
        graded.append(path.stem)
        time.sleep(0.1)
        return {"earned": 0, "imports": {path.name: []}, "trouble": "", "tasks": {}, "assignment": "2", "points": 9}

    monkeypatch.setattr("minires.course.grade.grade", slowly)
    both = [Thread(target=grade_all, args=(QUICK, tmp_path, tmp_path / "grades.csv")) for _ in range(2)]
    for grader in both:
        grader.start()
    for grader in both:
        grader.join()
    assert sorted(graded) == list("abcdef")
    assert (tmp_path / "grades.csv").read_text(encoding="utf-8").count("\n") == 7


@pytest.mark.slow
def test_grading_that_is_killed_goes_on_and_ends_as_if_undisturbed(tmp_path):
    texts = [SOLUTION, SOLUTION.replace("dy * (1 - y**2)", "dy"), "import no_such_module", "import os; os._exit(0)"]
    for number in range(8):
        (tmp_path / "collected" / f"student {number}").mkdir(parents=True)
        (tmp_path / "collected" / f"student {number}" / "activations.py").write_text(
            texts[number % 4], encoding="utf-8"
        )
    command = [sys.executable, "-m", "minires", "grade", "2", str(tmp_path / "collected"), "--csv"]
    where = {"cwd": Path(__file__).parents[1], "stdout": subprocess.DEVNULL}
    for done in (1, 4):
        grader = subprocess.Popen([*command, str(tmp_path / "killed.csv")], **where)
        wait_until(lambda done=done: len(list((tmp_path / "killed.results").glob("*.json"))) >= done)
        grader.kill()
        grader.wait()
    assert not (tmp_path / "killed.csv").exists()
    for name in ("killed.csv", "undisturbed.csv"):
        subprocess.run([*command, str(tmp_path / name)], check=True, **where)
    table = (tmp_path / "killed.csv").read_text(encoding="utf-8")
    assert table == (tmp_path / "undisturbed.csv").read_text(encoding="utf-8") and table.count("student") == 8


def test_names_of_submissions_cannot_stop_the_grading_of_the_others(tmp_path):
    folder = tmp_path / "collected"
    names = {
        "x" * 255,
        "new\nline",
        "two words",
        "=1+1",
        "-f",
        "a=b;c",
        *([os.fsdecode(b"\xff")] if jail.LINUX else []),
    }
    for name in (*names, ".git", "__MACOSX", "grades.results"):
        (folder / name).mkdir(parents=True)
    (folder / "grades.csv.new").write_text("half a table", encoding="utf-8")  # as a kill leaves it
    for _ in range(2):  # the second time there is a table in the folder
        rows = grade_all(QUICK, folder, folder / "grades.csv", jobs=1, tell=lambda said: None)
        assert {path.name for path in rows} == names
    assert all("found 0" in row["trouble"] for row in rows.values())
    table = list(csv.reader((folder / "grades.csv").open(encoding="utf-8")))
    assert len(table) == 1 + len(names) and {"'=1+1", "'-f", "two words"} < {row[0] for row in table}


def test_a_file_and_a_folder_of_one_name_are_two_students(tmp_path):
    (tmp_path / "ada").mkdir()
    for name in ("ada.py", "bob.py"):
        (tmp_path / name).write_text("import no_such_module", encoding="utf-8")
    grade_all(STRICT, tmp_path, tmp_path / "grades.csv", jobs=2, tell=lambda said: None)
    rows = list(csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8")))
    assert [row["submission"] for row in rows] == ["ada", "ada.py", "bob"]


def test_gradescope_gets_its_own_form(tmp_path):
    result = points(SOLUTION.replace("dy * (1 - y**2)", "dy"), tmp_path)
    form = json.loads(json.dumps(gradescope(result)))
    assert form["score"] == result["earned"] == sum(test["score"] for test in form["tests"])
    assert [test["max_score"] for test in form["tests"]] == [20, 25, 25, 30]
    assert [test["status"] for test in form["tests"]] == ["passed", "passed", "failed", "passed"]
    assert "numeric" in form["tests"][2]["output"]


def test_the_command_grades_one_file(tmp_path, capsys):
    (tmp_path / "activations.py").write_text(SOLUTION, encoding="utf-8")
    out = tmp_path / "results.json"
    assert main(["grade", "2", str(tmp_path), "--json", str(out)]) == 0
    assert "02-activations: 100 of 100 points" in capsys.readouterr().out
    assert json.loads(out.read_text())["score"] == 100


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["grade", "77", "."], "no assignment 77; there are: 01-arrays, 02-activations"),
        (["grade", "2", "no-such-file.py"], "no file or folder no-such-file.py"),
        (["grade", "2", ".", "--hidden", "."], "--hidden: no test_"),
        (["grade", "2", __file__, "--csv", "x.csv"], "expects a folder of submissions"),
        (["grade", "2", ".", "--course", "."], "no assignments in"),
        (["grade", "2", ".", "--csv", "gone/grades.csv"], "--csv: no folder gone to write gone/grades.csv to"),
        (["grade", "2", ".", "--csv", "grades.results"], "grades.results is what the folder of the reports is called"),
        (["grade", "2", ".", "--json", "."], "--json: expected the name of a file, got the folder ."),
        (["course", "release"], "give a new folder"),
    ],
)
def test_wrong_use_is_one_line(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_hidden_tests_that_a_submission_could_read_are_announced(tmp_path, monkeypatch, capsys):
    (tmp_path / "activations.py").write_text("import no_such_module", encoding="utf-8")
    monkeypatch.setattr(sys, "prefix", str(COURSE.parents[1]))  # as after  python -m venv .  in the clone
    assert main(["grade", "2", str(tmp_path / "activations.py")]) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert f"{ACTIVATIONS.folder} can be read by submissions, as it lies in {COURSE.parents[1]}" in first


def test_other_hidden_tests_and_other_numbers_can_be_given(tmp_path):
    hidden = tmp_path / "mine"
    hidden.mkdir()
    (hidden / "test_mine.py").write_text(
        "from minires.course import seeded\n\n\ndef test_task_2_1_number():\n    assert False, seeded().random()\n",
        encoding="utf-8",
    )
    one, other = (points(SOLUTION, tmp_path, hidden=hidden, seed=seed, select="2.1") for seed in (0, 1))
    assert messages(one) != messages(other)
    assert "  hidden test: number" in report(one)  # whatever the folder's name


def test_a_message_cannot_steer_the_terminal(tmp_path):
    text = SOLUTION.replace(RELU_FORWARD, "        raise ValueError('\\x1b[2J\\x07gone')\n")
    assert "\x1b" not in report(points(text, tmp_path, select="2.1"))
