"""The command line: what it prints, and one line for everything a person can get wrong."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minires import __version__, cli
from minires.cli import main
from minires.data import Dataset

STUDENT = """
import numpy as np
from minires import Layer, Parameter

THREE = 3

class Scale(Layer):
    def __init__(self, factor=1.0, *, offset=0.0):
        self.weight = Parameter(np.full(1, factor / 2, np.float32))

    def forward(self, x):
        return self._remember(self.weight.data.astype(x.dtype) * x, x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.weight.grad += np.sum(dy * x)
        return self.weight.data.astype(dy.dtype) * dy

class Doubled(Scale):
    def backward(self, dy):
        return 2 * super().backward(dy)

class Needs(Scale):
    def __init__(self, up, down=1):
        super().__init__(up / down)

class Crashes(Scale):
    def forward(self, x):
        return x.nothing

class Empty(Layer):
    pass

class NotALayer:
    pass
"""


@pytest.fixture
def student(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scale.py").write_text(STUDENT)
    return tmp_path


def run(capsys, *arguments):
    """Return the exit status, what was printed, and what was complained about."""
    status = main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


def test_python_dash_m_minires_is_the_command():
    done = subprocess.run([sys.executable, "-m", "minires", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"minires {__version__}\n")


def test_a_closed_pipe_ends_the_output_quietly():
    command = [sys.executable, "-m", "minires", "summary", "plain-110"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert "Traceback" not in errors and "BrokenPipe" not in errors


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX closes it")
@pytest.mark.parametrize("command", ["summary resnet-8", "lab", "--help"])
def test_a_stdout_closed_from_the_start_is_no_fault(command):
    shell = f"MINIRES_KERNELS=reference {sys.executable} -m minires {command} >&-"
    done = subprocess.run(shell, shell=True, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_summary_shows_shapes_with_their_arithmetic_and_totals(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = run(capsys, "summary", "resnet20")
    assert status == 0 and max(map(len, out.splitlines())) <= 80
    assert re.search(
        r"stage2\.0\.residual\.branch\n"
        r"  conv1 +Conv2d +32x16x16 +4,608 +1,179,648\n"
        r" +floor\(\(32 \+ 2\*1 - 1\*\(3-1\) - 1\)/2\) \+ 1 = 16\n"
        r"  bn1 +BatchNorm2d +32x16x16 +64\n",
        out,
    )
    assert re.search(r"stage2\.0\.residual\n  shortcut +SubsampleShortcut +32x16x16\n", out)
    assert re.search(r"\nlinear +Linear +10 +650 +640\n", out)
    assert re.search(r"\ntotal +269,722 +40,551,040\n", out)
    assert "the papers call them FLOPs" in out


def test_summary_puts_the_arithmetic_in_line_where_there_is_room(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = run(capsys, "summary", "plain-8")
    assert re.search(r"conv1 +Conv2d +16x32x32 +432 +442,368  floor\(\(32 .* = 32\n", out)
    assert max(map(len, out.splitlines())) <= 120


def test_summary_of_another_size_of_image(capsys):
    status, out, _ = run(capsys, "summary", "resnet-8-B", "--input", "3,48,32", "--classes", "100")
    assert status == 0
    assert "= 24\n" in out and "= 16\n" in out and re.search(r"linear +Linear +100 ", out)


def test_summary_takes_images_of_the_size_that_the_network_is_for(capsys):
    _, out, _ = run(capsys, "summary", "resnet18")
    assert out.startswith("resnet18 on an image of 3x224x224\n")
    assert re.search(r"\ntotal +11,689,512 +1,814,073,344\n", out)


def test_check_accepts_a_right_layer(student, capsys):
    status, out, err = run(capsys, "check", "scale.py:Scale", "--input", "2,3,4,4")
    assert (status, err) == (0, "")
    assert "Scale(): backward is the derivative of forward" in out and "weight.grad" in out


def test_check_rejects_a_wrong_layer(student, capsys):
    status, out, err = run(capsys, "check", "scale.py:Doubled", "--input", "2,3")
    assert (status, err) == (1, "")
    assert "Doubled(), train mode: dx is wrong" in out and "ratio 2.00" in out


def test_check_hands_arguments_to_the_constructor(student, capsys):
    status, _, _ = run(capsys, "check", "scale.py:Needs", "--input", "2,3", "--args", "4, down=-2")
    assert status == 0


def test_check_lets_a_file_import_its_neighbour(student, capsys):
    (student / "mine.py").write_text("from scale import Scale\nclass Mine(Scale):\n    pass\n")
    before = list(sys.path)
    status, _, _ = run(capsys, "check", str(student / "mine.py") + ":Mine", "--input", "2,3")
    assert status == 0 and sys.path == before


def test_check_names_the_line_that_raised_in_backward(student, capsys):
    (student / "mine.py").write_text(
        "from minires import ReLU\n\nclass Mine(ReLU):\n    def backward(self, dy):\n"
        "        return self._recall(dy) * dy\n"
    )
    status, out, _ = run(capsys, "check", "mine.py:Mine", "--input", "2,3")
    assert status == 1 and "tuple of 1. Unpack it: (a,) = self._recall(dy). (mine.py, line 5)" in out


def test_check_blames_no_file_for_a_closed_pipe(student):
    command = f"(sleep 1; {sys.executable} -m minires check scale.py:Scale --input 2,3; echo $? >status) | true"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=True)
    for _ in range(100):
        if (student / "status").exists():
            break
        time.sleep(0.1)
    assert "BrokenPipe" not in done.stderr and (student / "status").read_text() == "0\n"


def test_a_name_that_is_not_ascii_is_checked_in_an_ascii_terminal(student):
    (student / "größe.py").write_text("from minires import ReLU\n\nclass Größe(ReLU):\n    pass\n", encoding="utf-8")
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "minires", "check", "größe.py:Größe", "--input", "2,3"]
    done = subprocess.run(command, env=ascii_only, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(r"Gr\xf6\xdfe(): backward is")


@pytest.mark.parametrize(
    "target, options, status, message",
    [
        ("scale.py", [], 2, "expected FILE.py:CLASS, such as scale.py:Scale; got 'scale.py'"),
        ("scale:Scale", [], 2, "expected FILE.py:CLASS"),
        ("scal.py:Scale", [], 2, "no file scal.py. Did you mean scale.py?"),
        ("scale.py:Sclae", [], 2, "no class Sclae in scale.py. It has: Scale, Doubled, Needs"),
        ("scale.py:THREE", [], 2, "THREE of scale.py is not a class but of type int"),
        ("scale.py:NotALayer", [], 2, "NotALayer of scale.py has no forward and backward. Write  class NotALayer"),
        ("scale.py:Needs", [], 2, r"missing 1 required .* Its constructor is Needs\(up, down=1\): give --args"),
        ("scale.py:Needs", ["--args", "4, down=0"], 2, "scale.py, line 25: ZeroDivisionError"),
        ("scale.py:Needs", ["--args", "4, down=os"], 2, "expected constants such as"),
        ("scale.py:Needs", ["--args", "4,,"], 2, "expected constants such as"),
        ("scale.py:Needs", ["--args", "1) + (2"], 2, "expected constants such as"),
        ("scale.py:Scale", ["--input", "2,x"], 2, "--input: expected sizes .* got '2,x'"),
        ("scale.py:Scale", ["--input", "2,0"], 2, "--input: expected sizes .* got '2,0'"),
        ("scale.py:Crashes", [], 1, "scale.py, line 29: AttributeError: .* 'nothing'"),
        ("scale.py:Empty", [], 1, r"Empty.forward\(x\) is not written yet"),
    ],
)
def test_wrong_uses_of_check_are_answered_in_one_line(student, capsys, target, options, status, message):
    got, out, err = run(capsys, "check", target, *(["--input", "2,3"] if "--input" not in options else []), *options)
    assert (got, out, err.count("\n")) == (status, "", 1)
    assert re.match(f"minires: .*{message}", err)


@pytest.mark.parametrize(
    "text, message",
    [
        ("class A(:\n", "bad.py, line 1: "),
        ("import numpyy\n", "bad.py, line 1: ModuleNotFoundError: No module named 'numpyy'"),
        ("\nx = 1 / 0\n", "bad.py, line 2: ZeroDivisionError"),
        ("", "no class A in bad.py. It has: no class at all"),
    ],
)
def test_a_file_that_does_not_run_is_named_with_its_line(student, capsys, text, message):
    (student / "bad.py").write_text(text)
    status, out, err = run(capsys, "check", "bad.py:A", "--input", "2")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("minires: check: ") and message in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "required: COMMAND. See minires --help"),
        (["sumary", "resnet20"], "invalid choice: 'sumary'"),
        (["data", "--data-file", "nowhere.tar.gz"], "no file nowhere.tar.gz"),
        (["data", "--data-file", "a", "--data-dir", "b"], "got both"),
        (["summary"], "required: NET. See minires summary --help"),
        (["summary", "renset20"], "unknown network 'renset20'. Did you mean resnet-20"),
        (["summary", "resnet-21"], "6n \\+ 2 .* got 21"),
        (["summary", "resnet-20", "--input", "32"], "expected C,H,W of one image"),
        (["summary", "resnet-20", "--classes", "0"], "--classes: expected a whole number above 0, got '0'"),
        (["summary", "resnet-20", "--input", "32,32,3"], r"expected x of shape \(N, 3, H, W\), got \(1, 32, 32, 3\)"),
    ],
)
def test_wrong_uses_are_answered_in_one_line(capsys, arguments, message):
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"minires: .*{message}", err)


def test_data_fetches_what_is_missing_and_says_what_there_is(capsys, monkeypatch, tmp_path):
    asked = {}

    def load(dataset, data_dir, data_file, download):
        asked.update(dataset=dataset, data_dir=data_dir, data_file=data_file, download=download)
        return [Dataset(np.zeros((n, 3, 32, 32), np.uint8), np.zeros(n, int), ("cat", "dog")) for n in (20, 10)]

    monkeypatch.setattr("minires.commands.data.load", load)
    (tmp_path / "cifar-10-batches-bin").mkdir()
    status, out, err = run(capsys, "data", "--data-dir", str(tmp_path))
    place = {"data_dir": str(tmp_path), "data_file": None}
    assert (status, err) == (0, "") and asked == {"dataset": "cifar10", **place, "download": True}
    assert f"{tmp_path / 'cifar-10-batches-bin'}, whole: 20 training and 10 test images" in out and "cat, dog" in out


def test_doctor_says_what_there_is_and_tries_it(capsys):
    status, out, _ = run(capsys, "doctor")
    assert status == 0
    for name in "minires python numpy numba BLAS threads kernels cache data gradients training".split():
        assert re.search(rf"^{name} +\S", out, re.MULTILINE)
    assert out.splitlines()[0].endswith(f" in {Path(cli.__file__).parent}")
    assert out.endswith("Everything works.\n")


def test_doctor_says_when_something_is_wrong(capsys, monkeypatch):
    monkeypatch.setattr("minires.layers.conv.Conv2d.backward", lambda self, dy: 0 * self._recall(dy)[0])
    status, out, _ = run(capsys, "doctor")
    assert status == 1
    assert re.search("^gradients +FAILED: GradientError: ", out, re.MULTILINE)
    assert out.endswith("see FAILED above.\n")
