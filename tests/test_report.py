"""minires report: its numbers are those of the logs and checkpoints, and what is missing or broken is said."""

import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import Page
from run_folders import few_images, log, train_two, write_run

from minires.checkpoint import CheckpointError, load_checkpoint
from minires.cli import main
from minires.data import batches
from minires.lab.degradation.measure import PUBLISHED
from minires.lab.flow.figure import leaving
from minires.lab.responses.measure import layer_responses
from minires.lab.runs import read_runs, sets_of
from minires.networks import cifar_plain, cifar_resnet
from minires.optim import SGD
from minires.probe import gradient_flow
from minires.report import inside, report
from minires.run import Run
from minires.train import train

KEPT = Path(__file__).parents[1] / "docs" / "cifar10-30m"
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
example = importlib.import_module("degradation_cifar")


@pytest.fixture
def four(tmp_path):
    """plain and resnet, 20 and 56 layers; resnet-56 has two seeds."""
    errors = [("plain", 20, 0, 0.2, 0.25), ("plain", 56, 0, 0.3, 0.35), ("resnet", 20, 0, 0.2, 0.24)]
    errors += [("resnet", 56, 0, 0.1, 0.2), ("resnet", 56, 1, 0.14, 0.22)]
    for net, depth, seed, last, test in errors:
        folder = tmp_path / "runs" / f"{net}-{depth}-seed{seed}"
        write_run(folder, log(last, test), net=net, depth=depth, seed=seed, deviations=["steps: 100, the paper 64000"])
    return tmp_path / "runs"


def page_of(*places, **options):
    return Page(report(read_runs(places), **options)).check()


def table(page, words):
    """{first cell: the others} of the table whose caption begins so."""
    (rows,) = (rows for caption, rows in page.tables.items() if caption.startswith(words))
    return {first: cells for first, *cells in rows}


def test_the_errors_are_those_of_the_logs(four):
    rows = table(page_of(four), "Training and test error")
    assert rows["plain-20"] == ["20.0", "20.0", "25.0", "25.0", "100", "0", "20", "269,722"]
    assert rows["resnet-56"] == ["12.0 ± 2.8", "12.0 ± 2.8", "21.0 ± 1.4", "21.0 ± 1.4", "100", "0, 1", "56", "853,018"]
    assert list(rows) == ["network", "plain-20", "plain-56", "resnet-20", "resnet-56"]


def test_the_kept_runs_give_the_numbers_that_their_page_states():
    page = page_of(KEPT)
    here, paper = table(page, "Training and test error"), table(page, "Test error in %: here after 2,000 steps")
    stated = re.findall(
        r"^\| ([a-z]+-\d+) \| ([\d,]+) \| ([\d.]+) % \| ([\d.]+) % \| (.*) \|$", (KEPT / "README.md").read_text(), re.M
    )
    assert len(stated) == 4
    for name, parameters, train_error, test_error, published in stated:
        assert (here[name][0], here[name][2], here[name][-1]) == (train_error, test_error, parameters)
        assert paper[name][1].lstrip("≈ ") == re.search(r"[\d.]+", published)[0] and paper[name][0] == test_error
    assert (
        table(page, "From run.json")["batch_size"] == ["128"] and table(page, "How far")["plain-20-seed0"][2] == "19.8"
    )


def test_the_lowest_errors_are_those_of_any_line(tmp_path):
    lines = log(0.3, 0.4)
    lines[3]["error"], lines[10]["error"] = 0.05, 0.15
    assert [lines[3]["kind"], lines[10]["kind"]] == ["train", "test"]
    rows = table(page_of(write_run(tmp_path / "a", lines, net="plain", depth=20, seed=0)), "Training and test error")
    assert rows["plain-20"][:4] == ["30.0", "5.0", "40.0", "15.0"]


def test_errors_stand_beside_the_papers_with_their_budgets(four):
    page = page_of(four)
    rows = table(page, "Test error in %: here after 100 steps, in He et al. 2015 after 64,000")
    assert rows["resnet-20"] == ["24.0", "8.75", "+15.2"] and rows["plain-20"] == ["25.0", "≈ 9.5", "≈ +15.5"]
    rows = table(page, "What more layers change")
    assert rows["plain 20 → 56"] == ["+10.0", "+10.0", "≈ +4.0"] and rows["resnet 20 → 56"] == ["−8.0", "−3.0", "−1.78"]


def test_what_the_paper_has_no_number_for_is_not_compared(tmp_path):
    for net, depth in (("plain", 110), ("resnet", 8), ("resnet", 110)):
        write_run(tmp_path / f"{net}-{depth}", log(0.5, 0.5), net=net, depth=depth, seed=0)
    rows = table(page_of(tmp_path), "Test error in %")
    assert rows["plain-110"] == ["50.0", "above 60", "–"] and rows["resnet-110"] == [
        "50.0",
        "6.61 ± 0.16, best 6.43",
        "+43.4",
    ]
    assert "resnet-8" not in rows and ("resnet", 8) not in PUBLISHED


def test_other_images_than_the_papers_get_no_difference(tmp_path):
    write_run(tmp_path / "a", log(0.1, 0.1), net="resnet", depth=20, seed=0, data="synthetic, training")
    text = report(read_runs([tmp_path]))
    assert (
        table(Page(text), "Test error in %")["resnet-20"] == ["10.0", "8.75", "–"]
        and "errors themselves do not compare" in text
    )


@pytest.mark.parametrize(
    "status, words",
    [
        (
            "Diverged: Step 77, learning rate 9: NaN or infinity, first in conv1.",
            "diverged; the log ends at step 50 of 100. Step 77, l",
        ),
        ("Interrupted: Stopped at step 60 of 100; saved in x.", "stopped; the log ends at step 50 of 100"),
        ("running", "still running, or killed; the log ends at step 50 of 100"),
        ("OSError: disk full", "OSError; the log ends at step 50 of 100. disk full"),
    ],
)
def test_an_unfinished_run_is_named_and_kept_out_of_means(four, status, words):
    write_run(four / "plain-20-seed9", log(0.8, 0.8)[:11], status, net="plain", depth=20, seed=9)
    text = report(read_runs([four]))
    rows = table(Page(text).check(), "Training and test error")
    assert f"plain-20, seed 9: {words}" in text and "left out of means" in text
    assert rows["plain-20"][0] == "20.0" and rows["plain-20 †"][4:6] == ["50", "9"]
    assert text.count('class="bad"') == 1


def test_a_run_that_has_not_begun_to_log_is_a_page_as_well(tmp_path):
    text = report(read_runs([write_run(tmp_path / "a", [], "running", net="plain", depth=20, seed=0)]))
    assert "No run has logged anything yet" in text and table(Page(text).check(), "Training")["plain-20 †"][0] == "–"


def test_training_lines_alone_have_no_test_error(tmp_path):
    lines = [line for line in log(0.5, 0.5) if line["kind"] == "train"]
    rows = table(page_of(write_run(tmp_path / "a", lines, net="resnet-20", seed=3)), "Training")
    assert rows["resnet-20"] == ["50.0", "50.0", "–", "–", "100", "3", "20", "269,722"]


def test_networks_of_other_makes_have_panels_of_their_own(tmp_path):
    for i, net in enumerate(["dropout-shortcut", "wrn-16-4", "resnet-20-B", "<b>mine</b>"]):
        write_run(tmp_path / f"{i}", log(0.5, 0.5), net=net, seed=0, **({"depth": 20} if i == 0 else {}))
    page = page_of(tmp_path)
    rows = table(page, "Training")
    assert rows["dropout-shortcut-20"][-2:] == ["20", "–"] and rows["wrn-16-4"][-2:] == ["–", "2,748,890"]
    assert rows["resnet-20-B"][-1] == "272,474" and "<b>mine</b>" in rows and len(page.images) == 4


# -- sets


def test_runs_on_other_images_make_a_set_of_their_own(four, tmp_path):
    write_run(tmp_path / "b", log(0.5, 0.5), net="plain", depth=20, seed=0, data="synthetic, training", batch_size=32)
    page = page_of(four, tmp_path / "b")
    assert [words for level, words in page.headings if level == 2] == [
        "Set 1: plain-20, plain-56, resnet-20, resnet-56 on CIFAR-10",
        "Set 2: plain-20 on synthetic",
    ]
    rows = table(page, "In what the sets differ")
    assert rows == {
        "setting": ["set 1", "set 2"],
        "data": ["CIFAR-10, training", "synthetic, training"],
        "batch_size": ["128", "32"],
    }


def test_a_schedule_that_goes_with_the_depth_does_not_part_a_set_and_two_for_one_network_do(tmp_path):
    write_run(tmp_path / "a", log(0.5, 0.5), net="resnet", depth=20, seed=0)
    write_run(tmp_path / "b", log(0.5, 0.5), net="resnet", depth=110, seed=0, schedule="WarmUpUntil")
    assert len(sets_of(read_runs([tmp_path]))) == 1
    assert table(page_of(tmp_path), "From run.json")["schedule"] == [
        "Cosine(0.1) (resnet-20); WarmUpUntil (resnet-110)"
    ]
    write_run(tmp_path / "c", log(0.5, 0.5), net="resnet", depth=20, seed=0, schedule="Cosine(0.2)")
    assert len(sets_of(read_runs([tmp_path]))) == 3


def test_one_run_twice_is_refused_and_one_folder_twice_is_not(four, tmp_path):
    assert len(read_runs([four, four / "plain-20-seed0", tmp_path])) == 5
    write_run(tmp_path / "copy", log(0.2, 0.25), net="plain", depth=20, seed=0)
    with pytest.raises(
        CheckpointError, match="plain-20-seed0 and .*copy hold the same run: plain-20, seed 0. Leave one"
    ):
        sets_of(read_runs([four, tmp_path / "copy"]))


# -- what cannot be trusted


def test_nothing_in_a_folder_becomes_html(tmp_path):
    evil = "<img src=x onerror=alert(1)>\"'&amp;$\\frac$"
    folder = write_run(
        tmp_path / "<img src=x>", log(0.5, 0.5), f"Diverged: {evil}", [f"images: CIFAR-10 ({evil})", evil],
        net=evil, depth=20, seed=evil, data=f"CIFAR-10 {evil}", schedule=evil, budget=evil, **{evil: {evil: [evil]}},
    )  # fmt: skip
    (folder / "checkpoint.npz").write_text(evil)
    page = Page(report(read_runs([tmp_path]), command=evil)).check()
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.images)
    assert table(page, "How far")["<img src=x>"][0].startswith("diverged; ")
    assert table(page, "From run.json")[evil] == [f"{evil} {evil}"]


def test_seconds_that_are_no_number_do_not_count(four):
    path = four / "plain-20-seed0" / "run.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["sessions"] = [{"seconds": 120}, {"seconds": {"a": 1}}, {"seconds": None}, {}]
    path.write_text(json.dumps(about), encoding="utf-8")
    assert "2.0" in table(page_of(four), "How far")["plain-20-seed0"]


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("run.json", "{", "run.json: not JSON"),
        ("run.json", "[]", "run.json: expected {\"config\": {...}, ...}"),
        ("run.json", '{"config": 3}', "run.json: expected {\"config\""),
        ("log.jsonl", '{"kind": "train"\n{}\n{}\n', "log.jsonl, line 1: not JSON"),
        (
            "log.jsonl",
            '{"kind": "train", "step": 1, "error": 0.5, "images": 0}\n',
            "log.jsonl, line 1: expected kind, step, error",
        ),
        (
            "log.jsonl",
            '{"kind": "test", "step": 5e-324, "error": 0.5}\n',
            "log.jsonl, line 1: expected kind, step, error",
        ),
        ("log.jsonl", '{"kind": "train", "step": 1, "error": 0.5}\n', "log.jsonl, line 1: expected kind, step, error"),
        (
            "log.jsonl",
            '{"kind": "test", "step": 1' + 400 * "0" + ', "error": 0.5}\n',
            "log.jsonl, line 1: expected kind, step, error",
        ),
        ("log.jsonl", '{"kind": "train", "step": "a", "error": 0.5, "images": 3}\n', "line 1: expected kind"),
        ("log.jsonl", "[]\n", "log.jsonl, line 1: not JSON"),
        ("log.jsonl", '{"kind": "test", "step": 1, "error": 0.5}\n', "no training error of the last tenth"),
        ("log.jsonl", b"\xff\xfe\n", "log.jsonl, line 1: not JSON"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_in_one_line(four, capsys, file, content, message):
    path = four / "plain-20-seed0" / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["report", str(four)]) == 2
    err = capsys.readouterr().err
    assert message in err and str(path) in err and err.count("\n") == 1 and not (four / "report.html").exists()


def test_a_line_cut_short_by_a_kill_is_left_out(four):
    with open(four / "plain-20-seed0" / "log.jsonl", "a") as file:
        file.write('{"kind": "tra')
    assert table(page_of(four), "Training")["plain-20"][0] == "20.0"


# -- the command


def test_the_command_writes_beside_the_runs_and_over_its_own_pages_only(four, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", "runs"]) == 0 and main(["report", "runs", "--images", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"5 runs: see {Path('runs', 'report.html')}"
    assert [path.name for path in four.iterdir() if not path.is_dir()] == ["report.html"]
    assert "<pre>minires report runs</pre>" in (four / "report.html").read_text(encoding="utf-8")
    assert main(["report", "runs/plain-20-seed0"]) == 0 and (four / "plain-20-seed0" / "report.html").exists()
    assert main(["report", "runs/plain-20-seed0", "runs/plain-56-seed0", "--out", "two.html"]) == 0
    assert main(["report", "runs/plain-20-seed0", "runs/plain-56-seed0"]) == 0
    assert "2 runs" in (four / "report.html").read_text(encoding="utf-8")
    (tmp_path / "mine.html").write_text("mine")
    capsys.readouterr()
    for out, message in [
        ("mine.html", "mine.html is there already and no page of minires report"),
        ("runs", "runs is there already"),
        ("no/where.html", "no folder no to write"),
    ]:
        assert main(["report", "runs", "--out", out]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1
    assert (tmp_path / "mine.html").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere"], "nowhere: no such folder. Expected a folder with run.json"),
        (["."], ".: no run in it"),
        (["runs", "--images", "-1"], "--images: expected a whole number from 0 on, got '-1'"),
        ([], "required: RUN_DIR"),
    ],
)
def test_wrong_uses_are_answered_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_the_commands_on_the_page_ask_for_the_same_runs(four):
    text = report(read_runs([four]))
    asked = set()
    for line in re.search(r"To run this again</h2>\n<pre>(.*?)</pre>", text, re.S)[1].splitlines():
        python, script, *arguments = shlex.split(line)
        options = example.read_options(arguments)
        example.fill_in(options, 50_000)
        assert script == "examples/degradation_cifar.py" and (options.steps, options.eval_every) == (100, 50)
        assert (options.data, options.budget, options.batch_size) == ("cifar10", "30m", 128)
        asked |= {(net, depth, seed) for net in options.nets for depth in options.depths for seed in options.seeds}
    assert asked == {(run.config["net"], run.config["depth"], run.config["seed"]) for run in read_runs([four])}


# -- measured from checkpoints


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return train_two(tmp_path_factory.mktemp("trained"))


def test_gradients_and_responses_are_those_of_the_checkpoints(checkpoints, monkeypatch):
    monkeypatch.setattr(inside, "synthetic", few_images)
    page = page_of(checkpoints, images=8)
    norms, spread = table(page, "Norm of the gradient"), table(page, "Layer responses")
    for name, build in (("plain", cifar_plain), ("resnet", cifar_resnet)):
        net = build(8, rng=5)
        load_checkpoint(checkpoints / name / "checkpoint.npz", net)
        train_set, test_set = few_images()
        flow = gradient_flow(net, *next(batches(train_set, 8)))
        stds = [row.std for row in layer_responses(net.eval(), next(batches(test_set, 8))[0])]
        assert norms[f"{name}-8"][:2] == [f"{flow[-1].entering:.3g}", f"{leaving(flow[0]):.3g}"]
        assert spread[f"{name}-8"] == [f"{np.mean(stds):.3f}", f"{min(stds):.3f}", f"{max(stds):.3f}", "2"]
        assert norms[f"{name}-8"][-1] == "2"
    assert len(page.images) == 2 + 1 + 2


def test_what_cannot_be_measured_is_said_in_a_sentence(checkpoints, tmp_path, monkeypatch):
    def said(*places, **options):
        text = report(read_runs(places), **options)
        Page(text).check()
        return text

    assert "Not measured, as the images found here (24 images" not in said(checkpoints, images=0)
    assert "Nothing was measured, as no images were asked for." in said(checkpoints, images=0)
    monkeypatch.setattr(inside, "synthetic", lambda *sizes: few_images()[::-1])
    assert "are not those of the runs (24 images, checksum" in said(checkpoints)
    monkeypatch.setattr(inside, "find_cifar10", lambda *place: None)
    folder = write_run(tmp_path / "a", log(0.5, 0.5), net="resnet", depth=8, seed=0)
    assert "Not measured, as there is no checkpoint.npz: resnet-8." in said(folder)
    (folder / "checkpoint.npz").write_bytes((checkpoints / "resnet" / "checkpoint.npz").read_bytes())
    assert "CIFAR-10 is not on this disk: minires data fetches it" in said(folder)
    other = write_run(tmp_path / "b", log(0.5, 0.5), net="resnet", depth=8, seed=0, data="photographs")
    (other / "checkpoint.npz").write_bytes((checkpoints / "resnet" / "checkpoint.npz").read_bytes())
    assert "run.json does not say on which images" in said(other)


def test_a_damaged_checkpoint_does_not_keep_the_rest_from_the_page(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(inside, "synthetic", few_images)
    for name in ("plain", "resnet"):
        (tmp_path / name).mkdir()
        for file in (checkpoints / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "plain" / "checkpoint.npz").write_bytes(b"nothing")
    text = report(read_runs([tmp_path]), images=8)
    assert "plain-8 was not measured. " in text and "damaged or cut short" in text
    assert list(table(Page(text).check(), "Norm of the gradient")) == ["network", "resnet-8"]


def test_images_kept_for_tests_are_found_again(checkpoints, tmp_path, monkeypatch):
    """As --validation does: the test set is a part of the training images."""
    whole, _ = few_images()
    net, run = cifar_plain(8, rng=0), Run(tmp_path / "a", {"net": "plain", "depth": 8, "data": "synthetic, training"})
    train(net, SGD(net.parameters(), 0.1), whole[:20], whole[20:], steps=1, batch_size=8, run=run, bar=False)
    monkeypatch.setattr(inside, "synthetic", few_images)
    assert "plain-8" in table(page_of(tmp_path, images=4), "Norm of the gradient")
