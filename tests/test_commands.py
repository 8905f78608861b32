"""Every command on README and the pages: its options are understood, and (slow) it runs, only smaller."""

import argparse
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from matplotlib.image import imsave
from test_docs import FENCED, PAGES, PYTHON, ROOT, name_of

from minires import cifar_resnet, cli, network
from minires.commands import lab
from minires.course.assignment import course_folder, release
from minires.data import SOURCES
from minires.weights import save_weights

OURS = r"(\w+=\S+ )*(minires [a-z]|python3? (-m (minires|pytest|sphinx)\b|(examples|tests)/)|(examples/)?\w+\.py -)"


def commands_of(page):
    """Every line of a block of the shell, and the commands of ours in sentences, in indented lines, among output."""
    text = page.read_text(encoding="utf-8")
    blocks, prose = FENCED.findall(text), FENCED.sub("", text)
    lines = "\n".join(block for kind, block in blocks if kind in ("sh", "bat")).replace("\\\n", " ").splitlines()
    others = [line for kind, block in blocks if not kind for line in block.splitlines()]
    others += re.findall("^    (.*)", prose, re.M)
    others += re.findall(r"`([^`]+)`", prose) if page.suffix == ".md" else []
    for line in lines + [line for line in others if re.match(OURS, line) and "..." not in line]:
        line = re.sub(r"\S*\.venv[/\\](bin|Scripts)[/\\]", "", " ".join(line.split("  #")[0].split()))
        yield re.sub(r"^(examples/)?(?=\w+\.py -)", "python examples/", line.replace("\\", "/"))


COMMANDS = sorted({(line, name_of(page)) for page in PAGES for line in filter(None, commands_of(page))})


class Understood(Exception):
    """Raised in place of running a command."""


@pytest.fixture
def only_understand(monkeypatch):
    """Let options be read and nothing be done."""
    read = argparse.ArgumentParser.parse_args

    def parse(parser, args=None, namespace=None):
        options = read(parser, args, namespace)
        if getattr(options, "run", None) is lab.run and options.room is not None:
            return options  # the experiment's own options are still to be read
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)


CODE = [*(ROOT / "examples").glob("*.py"), *(ROOT / "minires").rglob("*.py")]  # what docstrings say goes into --help
LINES = {line for line, _ in COMMANDS} | {line for path in CODE for line in commands_of(path)}
OF_OURS = sorted({part for line in LINES for part in line.split(" && ") if re.match(OURS, part)})


@pytest.mark.parametrize("line", OF_OURS)
def test_the_command_is_understood(line, only_understand, monkeypatch):
    words = [word for word in shlex.split(re.sub(r"^(\w+=\S+ )+", "", line)) if word != "python"]
    if words[:2] == ["-m", "pytest"]:
        assert all((ROOT / word).exists() for word in words[2:] if word.startswith(("tests/", "minires/")))
        return
    if words[:2] == ["-m", "sphinx"] or words == ["tests/lines.py"]:
        return
    if words[0] == "minires":
        if len(words) == 2 and words[1] in cli.COMMANDS:  # `minires report` in a sentence names it
            return
        main = cli.main
    elif words[0] == "-m":
        words = words[1:]
        main = importlib.import_module(f"{words[0]}.__main__").main
        if len(words) == 1 and words[0] == "minires.pretrained":  # named in a sentence
            return
    else:
        script = ROOT / words[0]
        monkeypatch.syspath_prepend(str(script.parent))
        main = importlib.import_module(script.stem).main
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(Understood):
        status = main(words[1:]) if words[0] == "minires" else main()
        pytest.fail(f"exit status {status}")


def test_there_are_commands_to_try():
    assert len(OF_OURS) > 150  # else commands_of has stopped finding them


# -- run ---------------------------------------------------------------------------------------------------------

NOT_HERE = {  # how a command begins, or all of it with two blanks behind: where it is run
    "python3 -m venv ": "with the next, in an empty environment: by .ci, and by test_assignments.py",
    "pip ": "by the same; it needs an index of packages",
    "py -m venv ": "on Windows",
    "ruff check .": "by who changes something",
    "python -m pytest  ": "now, or as minires course check does it",
    "MINIRES_KERNELS=reference python -m pytest ": "by who changes something; it is a part of this suite",
    "python -m pytest tests/conformance": "where PyTorch is; it is a part of this suite",
    "python -m pytest -k ": "in the folder of assignment 2 only, by the line that goes there",
    "python -m sphinx ": "by test_book.py",
    "minires bench --against torch": "by test_bench.py, where PyTorch is; it compiles for two minutes",
    "minires bench resnet-110 --against torch": "by the same",
    "minires course check  ": "by test_assignments.py, each assignment for itself",
}
SMALLER = [  # (what a command looks like, what is added to it)
    ("^minires (evaluate|grade|predict|report|trace|train|course release)$", "--help"),  # only named in a sentence
    ("minires.pretrained$", "--help"),
    ("minires.pretrained runs", "--out shipped"),
    ("degradation_cifar.py.*--steps", "--steps 2"),
    ("degradation_cifar.py.*--depths 20 32", "--depths 20 --seeds 0 1"),
    ("what_each_trick", "--turns 1 --batch-size 1 --rows im2col board"),
    ("minires bench", "--repeat 1 --batch 2"),
    ("lab roofline", "--repeat 1 --batch-size 2 --memory-mb 16"),
    ("lab shattered", "--networks 1"),
    ("lab (?!roofline|shattered|crossing|identity|ablation).", "--images 8"),
    ("lab identity", "--steps 2"),
    ("lab (?!roofline|shattered|crossing|identity)(?!.*(--pretrained|--runs|--steps 0)).", "--steps 2 --batch-size 4"),
    ("lab ablation", "--depth 8 --names original dropout-shortcut"),
    ("lab boosting", "--steps 2"),  # for the classifiers of trained nets too
    ("lab (preactivation|(flow|start).*--depths 56)", "--depths 20"),
    ("lab landscape", "--points 3 --moments 2"),
    ("lab paths(?!.*--effective-steps 0)", "--effective-steps 2"),
    ("lab paths", "--paths 1"),
    ("lab .*--seeds 0 1 2", "--seeds 1"),
]
HERE = {  # names that stand for others, and places elsewhere
    "/autograder": "$PLACE/autograder",
    "FILE.py:NAME": "mynet.py:build",
    " NET": " resnet-8",
    " FILE": " alice",
    " --data-dir DIR --": " --",
}
FIRST = "degradation_cifar|--save|convert_"  # these make what others need
FEW = """from minires.data import Dataset, sources, synthetic
from minires.lab import recipe
for budget in recipe.BUDGETS.values():
    budget |= {"steps": 2, "batch_size": 4, "lr": 0.001}
synthetic.__defaults__ = 64, 32, 0
def read(source, place):
    train, test = synthetic()
    train = Dataset(train.images, train.labels, source.classes, source.title + ", training")
    return train, Dataset(test.images, test.labels, source.classes, source.title + ", test", train)
sources._read = read
"""


def smaller(line):
    """What of a line is run here, and as what; "" for nothing."""
    kept = [part for part in line.split(" && ") if not f"{part}  ".startswith(tuple(NOT_HERE)) or "cd my-" in line]
    line = " && ".join(kept)
    for text, here in HERE.items():
        line = line.replace(text, here)
    return " ".join([line, *(more for pattern, more in SMALLER if re.search(pattern, line))])


TO_RUN = sorted({smaller(line) for line, _ in COMMANDS} - {""})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all that the pages' commands find in theirs, and what the FIRST of them make."""
    place, solution = tmp_path_factory.mktemp("place"), course_folder() / "02-activations" / "solution"
    for folder in ("bin", "few", "autograder/source", "autograder/results"):
        (place / folder).mkdir(parents=True)
    for name, words in {"python": "", "minires": "-m minires"}.items():
        (place / "bin" / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        (place / "bin" / name).chmod(0o755)
    (place / "few" / "sitecustomize.py").write_text(FEW)  # what Python runs at its start
    for folder in ("docs", "examples", "minires", "tests"):
        (place / folder).symlink_to(ROOT / folder)
    for form in (source.forms[0] for source in SOURCES.values()):
        (place / "DIR" / form.folder).mkdir(parents=True)
        for name in (name for names in form.train + form.test for name in names):
            (place / "DIR" / form.folder / name).touch()
    release(course_folder(), place / "my-course")
    for folder in "alice submissions/alice submissions/bob autograder/submission my-course/02-activations".split():
        shutil.copytree(solution, place / folder, dirs_exist_ok=True)
    (layer,) = (code for code in PYTHON.findall((ROOT / "README.md").read_text("utf-8")) if "(Layer)" in code)
    build = "from minires import cifar_resnet\n\ndef build(depth=20, **more): return cifar_resnet(depth, **more)\n"
    texts = {"leaky": layer, "my_layer": layer.replace("LeakyReLU", "MyLayer"), "mynet": build, "mine": build}
    for name, text in texts.items():
        (place / f"{name}.py").write_text(text, encoding="utf-8")
    for name in ("cat.jpg", "ship.png"):
        imsave(place / name, np.random.default_rng(0).random((40, 40, 3)))
    save_weights(cifar_resnet(20, shortcut="B", rng=0), place / "cifar10_resnet20.npz", names="akamaster")
    save_weights(network("resnet18", rng=0), place / "resnet18.npz", names="torchvision")
    if find_spec("torch"):
        import torch

        arrays = np.load(place / "resnet18.npz").items()
        torch.save({name: torch.from_numpy(array) for name, array in arrays}, place / "resnet18.pth")
    first = {line: run(line, place) for line in TO_RUN if re.search(FIRST, line)}
    for name, run_folder in {"a": "plain-20-seed0", "b": "resnet-20-seed0", "resnet-20": "resnet-20-seed0"}.items():
        shutil.copytree(place / "runs" / "cifar10-30m" / run_folder, place / "runs" / name)
    return place, first


def run(line, place, folder="."):
    """Run a command as a shell does; return what came of it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MINIRES")} | {"PLACE": str(place)}
    environment["PATH"] = os.pathsep.join([str(place / "bin"), environment["PATH"]])
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(place / "few")])
    environment["MINIRES_DATA"] = str(place / "DIR") if re.search("cifar10|minires data", line) else str(place / "bin")
    return subprocess.run(line, shell=True, cwd=place / folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="commands are typed into a shell")
@pytest.mark.parametrize("line", TO_RUN, ids=str)
def test_the_command_runs(line, place, tmp_path):
    if "convert_torch" in line and not find_spec("torch"):
        pytest.skip("needs PyTorch")
    place, first = place
    done = first.get(line) or run(line, place, tmp_path if "course release" in line else ".")
    if "course release my-course && python -m pytest" in line:  # README's: nothing of the task is done yet
        assert done.returncode == 1 and "NotImplementedError: Task 2.1" in done.stdout
    else:
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_what_is_not_run_is_still_on_a_page():
    parts = [f"{part}  " for line, _ in COMMANDS for part in line.split(" && ")]
    assert [start for start in NOT_HERE if not any(part.startswith(start) for part in parts)] == []
