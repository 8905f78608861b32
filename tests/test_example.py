"""examples/degradation_cifar.py and its figure, on a handful of small images."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from minires.data.batches import normalisation
from minires.data.dataset import Dataset
from minires.lab import experiment, recipe
from minires.lab.degradation.figure import degradation_figure
from minires.run import read_log
from minires.train import Interrupted

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))  # where python examples/x.py looks
example = importlib.import_module("degradation_cifar")


def few_images():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 3, 8, 8)).astype(np.uint8)
    everything = Dataset(images, rng.integers(0, 10, 40), [str(i) for i in range(10)], "synthetic, training")
    return everything[:24], everything[24:]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run the example in a folder of its own; returns the exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment, "synthetic", few_images)
    return lambda text: example.main(["--data", "synthetic", *text.split()])


def options_of(text):
    options = example.read_options(text.split())
    example.fill_in(options, 50_000)
    return options


def test_it_trains_every_network_draws_the_figure_and_says_what_it_shows(command, tmp_path, capsys, monkeypatch):
    drawn = []

    def draw(*given):
        drawn.append(degradation_figure(*given))
        return drawn[-1]

    monkeypatch.setattr(example, "degradation_figure", draw)
    asked = "--depths 8 14 --steps 4 --batch-size 8 --seeds 0 1 --out runs"
    assert command(asked) == 0
    out = capsys.readouterr().out
    for name, parameters in [("plain-8", "75,290"), ("resnet-14", "172,506")]:
        assert any(line.startswith(name) and parameters in line for line in out.splitlines())
    assert "He et al. 2015 (another setting)" in out and "plain-14 trains " in out
    height, width, _ = matplotlib.image.imread(tmp_path / "runs" / "degradation.png").shape
    assert (width, height) == tuple((160 * drawn[-1].get_size_inches()).astype(int))
    for axis, kind in zip(drawn[-1].axes, ("plain", "resnet"), strict=True):
        assert {text.get_text() for text in axis.texts} == {f"{kind}-8", f"{kind}-14"}
        logs = [read_log(tmp_path / "runs" / f"{kind}-{d}-seed{s}" / "log.jsonl") for d in (8, 14) for s in (0, 1)]
        tests = [100 * next(line["error"] for line in reversed(log) if line["kind"] == "test") for log in logs]
        ends = [line.get_ydata()[-1] for line in axis.lines if not line.is_dashed()]
        np.testing.assert_allclose(sorted(ends), sorted([np.mean(tests[:2]), np.mean(tests[2:])]))
    assert "4 steps of 8 images" in drawn[-1].get_supxlabel().replace("\n", " ")

    folders = sorted(folder.name for folder in (tmp_path / "runs").iterdir() if folder.is_dir())
    assert folders == sorted(f"{n}-{d}-seed{s}" for n in ("plain", "resnet") for d in (8, 14) for s in (0, 1))
    about = json.loads((tmp_path / "runs" / "resnet-8-seed1" / "run.json").read_text())
    assert about["config"]["net"] == "resnet" and about["config"]["seed"] == 1 and about["config"]["steps"] == 4
    assert "steps: 4, the paper 64000" in about["deviations"]

    files = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.*") if path.suffix != ".png"}
    assert command(asked) == 0  # everything is found finished
    assert {path: path.read_bytes() for path in files} == files
    assert command(asked + " --budget 30m") == 1
    assert "holds a run with budget = 3m, this one has budget = 30m" in capsys.readouterr().err


def test_plain_and_residual_nets_of_one_seed_start_alike_and_see_the_same_batches(monkeypatch):
    seen = []

    def look(net, optimizer, train_set, test_set, *, rng, **_):
        seen.append((net.stage2, net.conv1.weight.data, rng.bit_generator.state))

    monkeypatch.setattr(experiment, "train", look)
    options = options_of("--data synthetic --out runs")
    for name in ("plain", "resnet"):
        example.train_one(name, 8, 5, few_images(), options)
    (plain, conv, rng), (residual, same_conv, same_rng) = seen
    assert rng == same_rng
    np.testing.assert_array_equal(conv, same_conv)
    np.testing.assert_array_equal(plain[0].conv2.weight.data, residual[0].residual.branch.conv2.weight.data)


def test_ctrl_c_says_how_to_go_on(command, monkeypatch, capsys):
    def stopped(*_):
        raise Interrupted("Stopped at step 3 of 9; saved in runs.")

    monkeypatch.setattr(example, "train_one", stopped)
    assert command("--steps 9") == 130
    assert capsys.readouterr().err == "Stopped at step 3 of 9; saved in runs. To go on, give the same command again.\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("--depths 21", "expected 6n + 2"),
        ("--steps 0", "expected a whole number above 0, got '0'"),
        ("--seeds 0 -1", "argument --seeds: expected a whole number"),
        ("--steps 3 --epochs 2", "not allowed with"),
        ("--budget 5m", "invalid choice: '5m'"),
    ],
)
def test_impossible_options_are_named(text, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        example.main(text.split())
    assert message in capsys.readouterr().err


def test_a_place_without_cifar10_is_named(tmp_path, capsys):
    assert example.main(["--data-dir", str(tmp_path / "nothing")]) == 1
    assert "nothing" in capsys.readouterr().err


def test_the_papers_budget_is_the_papers():
    options = options_of("--budget paper")
    assert (options.steps, options.batch_size, options.eval_every) == (64_000, 128, 391)
    for depth in (20, 56):
        schedule = recipe.schedule_for(depth, options)
        rates = [schedule.lr(i) for i in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
        np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    schedule = recipe.schedule_for(110, options)
    assert schedule.lr(400) == 0.01
    for _ in range(300):
        schedule.observe(0.7)
    assert schedule.lr(400) == 0.1 and schedule.lr(32_000) == pytest.approx(0.01)
    cifar = Dataset(np.zeros((1, 3, 8, 8), np.uint8), [0], ["a"], "CIFAR-10, training")
    assert example.deviations(cifar, options) == []


def test_a_shorter_budget_says_in_what_it_differs_from_the_paper():
    found = " ".join(example.deviations(few_images()[0], options_of("--budget 3m --validation")))
    for word in ("images: synthetic", "steps", "batch_size", "warm-up", "left out of training"):
        assert word in found


def test_epochs_are_turned_into_steps():
    assert options_of("--epochs 3 --batch-size 128").steps == 3 * 391


def test_the_validation_split_leaves_a_tenth_out(monkeypatch):
    monkeypatch.setattr(experiment, "synthetic", lambda: few_images()[:1] * 2)
    train_set, test_set = example.training_and_test_set(example.read_options(["--data", "synthetic", "--validation"]))
    assert (len(train_set), len(test_set)) == (21, 3)


def test_the_validation_split_subtracts_the_mean_of_the_images_trained_on(monkeypatch):
    monkeypatch.setattr(experiment, "synthetic", few_images)
    options = example.read_options(["--data", "synthetic", "--validation"])
    train_set, test_set = example.training_and_test_set(options)
    mean = few_images()[0].images[:21].mean(axis=0)
    for dataset in (train_set, test_set):
        np.testing.assert_allclose(normalisation(dataset, "pixel_mean")[0], mean, rtol=1e-6)


@pytest.mark.parametrize(
    "text, folder",
    [
        ("", "auto-3m"),
        ("--steps 80", "auto-3m-80-steps"),
        ("--epochs 1 --batch-size 64", "auto-3m-782-steps-batches-of-64"),
        ("--budget 30m --eval-every 7", "auto-30m-tests-every-7"),
        ("--budget paper --validation", "auto-paper-validation"),
        ("--steps 80 --out here", "here"),
    ],
)
def test_a_folder_is_named_by_what_is_in_it(text, folder):
    out = options_of(text).out
    assert out == Path(folder) if "out" in text else out == Path("runs", folder)


SCRIPT = """
import sys
sys.path[:0] = {paths!r}
import test_example
test_example.experiment.synthetic = test_example.few_images
sys.exit(test_example.example.main("--data synthetic --depths 8 --steps 4 --batch-size 8 --out {out}".split()))
"""


@pytest.mark.skipif(os.name != "posix", reason="pipes and closed files of a shell")
@pytest.mark.parametrize("listener", ["| true", ">&-", "2>&-", "2>&1 | true", ">&- 2>&-"])
def test_training_does_not_stop_when_nobody_listens(tmp_path, listener):
    script, tests = tmp_path / "script.py", Path(__file__).parent
    script.write_text(SCRIPT.format(paths=[str(tests), str(tests.parent)], out=tmp_path / "out"))
    command = f"{{ {sys.executable} {script}; echo $? > {tmp_path / 'status'}; }} {listener}"
    if "|" not in listener:
        command = f"{sys.executable} {script} {listener}; echo $? > {tmp_path / 'status'}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=300)
    assert (tmp_path / "out" / "degradation.png").exists()
    assert (tmp_path / "status").read_text() == "0\n" and "Traceback" not in done.stderr


def results(plain_20, plain_56, resnet_20, resnet_56, images=10_000):
    keys = [("plain", 20), ("plain", 56), ("resnet", 20), ("resnet", 56)]
    errors = [plain_20, plain_56, resnet_20, resnet_56]
    return {
        key: [(e, images, e) for e in (error if isinstance(error, list) else [error])]
        for key, error in zip(keys, errors)
    }


@pytest.mark.parametrize(
    "numbers, said",
    [
        ((0.30, 0.45, 0.30, 0.28), ["plain-56 trains worse than plain-20: training error 45.0% against 30.0%",
                                    "resnet-56 trains better than resnet-20", "not overfitting", "they did not"]),
        ((0.30, 0.45, 0.30, 0.301), ["resnet-56 trains about as well as resnet-20", "With shortcuts they did not"]),
        ((0.30, 0.45, 0.30, 0.35), ["resnet-56 trains worse", "got worse as well, by 5.0 points against 15.0"]),
        ((0.30, 0.25, 0.30, 0.25), ["plain-56 trains better", "shows no degradation"]),
        (([0.2, 0.4], [0.3, 0.5], 0.3, 0.3), ["plain-56 trains about as well as plain-20", "shows no degradation"]),
        (([0.3, 0.31], [0.4, 0.41], 0.3, 0.3), ["plain-56 trains worse than plain-20"]),
    ],
)  # fmt: skip
def test_the_closing_words_follow_from_the_numbers(numbers, said):
    verdict = example.verdict(results(*numbers))
    for words in said:
        assert words in verdict
    assert ("no degradation" in verdict) == any("no degradation" in words for words in said)


def test_few_images_leave_the_order_open():
    assert "about as well as" in example.verdict(results(0.30, 0.35, 0.3, 0.3, images=200))


def test_one_depth_alone_says_nothing():
    assert example.verdict({("plain", 20): [(0.3, 100, 0.3)]}) == ""


def line(kind, step, error, images=10):
    return {"kind": kind, "step": step, "error": error, "images": images}


def test_the_final_training_error_is_that_of_the_last_tenth_of_the_steps():
    log = [line("train", step, 0.9) for step in range(1, 18)]
    log += [line("train", 19, 0.5, 30), line("train", 20, 0.1), line("test", 20, 0.25)]
    train_error, images, test_error = example.final_errors(log)
    assert (train_error, images, test_error) == (pytest.approx(0.4), 40, 0.25)


def test_the_figure_draws_the_mean_and_the_spread_of_the_seeds():
    seeds = [
        [line("train", 10, a), line("test", 10, a), line("train", 20, b), line("test", 20, b)]
        for a, b in [(0.8, 0.5), (0.6, 0.3)]
    ]
    figure = degradation_figure({("plain", 20): seeds, ("resnet", 20): seeds[:1], ("resnet", 56): [[]]}, "what was run")
    left, right = figure.axes
    training, test = left.lines
    np.testing.assert_allclose(training.get_xydata(), [[5, 70], [15, 40]])
    np.testing.assert_allclose(test.get_xydata(), [[10, 70], [20, 40]])
    assert training.get_linewidth() < test.get_linewidth() and training.is_dashed() and not test.is_dashed()
    low, high = left.collections[0].get_datalim(left.transData).get_points()[:, 1]
    assert (low, high) == (pytest.approx(30), pytest.approx(80))
    np.testing.assert_allclose(right.lines[1].get_ydata(), [80, 50])
    assert [text.get_text() for text in right.texts] == ["resnet-20"]
    assert left.get_ylim() == right.get_ylim()
    assert "what was run" in [text.get_text() for text in figure.texts]


def test_a_long_log_is_drawn_as_means_over_all_its_images():
    log = [line("train", step, error, images) for step, error, images in [(5, 0.2, 10), (10, 0.8, 30), (1000, 0.5, 10)]]
    (axis,) = degradation_figure({("plain", 20): [log]}).axes
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [[5, 65], [505, 50]])


def test_a_figure_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one log with lines"):
        degradation_figure({("plain", 20): [[]]})
