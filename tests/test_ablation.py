"""The papers' ablations: their networks, the comparison of two orders, the script from end to end, the figure."""

from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from lab_commands import refused

from minires.lab import experiment
from minires.lab.ablation.figure import ablation_figure
from minires.lab.ablation.measure import NAMES, SAME, TABLES, Row, ablation_net, agreement, ranks, rows_of, verdict
from minires.losses import softmax_cross_entropy
from minires.train import Interrupted

SMALL = "ablation --data synthetic --depth 8 --steps 2 --batch-size 8 --out out"


# -- the tables -----------------------------------------------------------------------------------------------------


def test_the_tables_are_the_published_ones():
    shortcuts, activations, projections = (table.errors for table in TABLES.values())
    assert sorted(shortcuts.values()) == [6.61, 6.91, 8.70, 9.81, 12.22, 12.35, 12.86] + 5 * [inf]
    assert [name for name, error in shortcuts.items() if error == inf] == [
        "scaling-0", "scaling-0.5", "exclusive-gating-0", "exclusive-gating-5", "dropout-shortcut"
    ]  # fmt: skip
    assert sorted(activations.values()) == [6.37, 6.61, 6.71, 7.84, 8.17]
    assert projections == {"plain": 28.54, "A": 25.03, "B": 24.52, "C": 24.19}


@pytest.mark.parametrize("one, other", SAME.items())
def test_two_names_of_one_network_compute_the_same(one, other):
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((4, 3, 8, 8)).astype(np.float32), rng.integers(0, 10, 4)
    results = []
    for name in (one, other):
        net = ablation_net(name, 14, rng=5)
        logits = net.forward(x)
        net.backward(softmax_cross_entropy(logits, labels)[1])
        results.append((logits, net.conv1.weight.grad))
    for a, b in zip(*results):
        assert np.abs(a).max() > 0
        np.testing.assert_array_equal(a, b)


def test_every_other_name_is_a_network_of_its_own():
    x = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    logits = {name: ablation_net(name, 8, rng=5).forward(x).tobytes() for name in NAMES if name not in SAME}
    assert len(set(logits.values())) == len(logits) == 17


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="ablation_net: expected one of original, .*, got 'D'"):
        ablation_net("D", 20)


# -- two orders -----------------------------------------------------------------------------------------------------


def rows(published, here):
    return [Row(f"net{i}", a, [b], [b]) for i, (a, b) in enumerate(zip(published, here))]


def test_rows_come_in_the_papers_order_and_share_the_results_of_one_network():
    results = {"original": [(0.1, 0.2), (0.3, 0.4)], "plain": [(0.5, 0.6)]}
    found = rows_of(TABLES["projections"], results)
    assert found == [Row("A", 25.03, [0.1, 0.3], [0.2, 0.4]), Row("plain", 28.54, [0.5], [0.6])]
    assert [row.name for row in rows_of(TABLES["shortcuts"], results)] == ["original", "scaling-0"]
    assert [row.name for row in rows_of(TABLES["shortcuts"], results, ["scaling-0"])] == ["scaling-0"]


@pytest.mark.parametrize(
    "test, failed, error",
    [([0.3, 0.5], False, 0.4), ([0.8], False, 0.8), ([0.81], True, inf), ([0.3, nan], True, inf)],
)
def test_a_net_that_diverged_or_stays_near_chance_has_failed(test, failed, error):
    row = Row("net", 6.61, test, test)
    assert (row.failed, row.error) == (failed, error)


def test_equal_errors_share_a_rank():
    assert ranks([0.3, inf, 0.1, 0.3, inf]) == [2, 4, 1, 2, 4]


@pytest.mark.parametrize(
    "published, here, tau",
    [
        ([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], 1),
        ([1, 2, 3, 4], [0.4, 0.3, 0.2, 0.1], -1),
        ([1, 2, 3, 4], [0.2, 0.1, 0.3, 0.4], 4 / 6),  # one pair of six is swapped
        ([1, 2, inf, inf], [0.1, 0.2, 0.3, 0.4], 5 / np.sqrt(5 * 6)),  # a pair that the paper leaves open
        ([1, 2, inf, inf], [0.1, 0.2, 0.9, 0.95], 1),  # failures are equal
    ],
)
def test_tau_counts_the_pairs_in_order(published, here, tau):
    assert agreement(rows(published, here)).tau == pytest.approx(tau)


def test_chance_is_the_part_of_random_orders_that_agree_as_well():
    found = agreement(rows([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]))
    assert found.chance == pytest.approx(1 / 24, abs=0.01)  # one order of 24
    assert agreement(rows([1, 2, 3, 4], [0.4, 0.3, 0.2, 0.1])).chance == 1


@pytest.mark.parametrize(
    "published, here, said",
    [
        (
            range(6),
            np.arange(6) / 10,
            "follows the paper's, more than by chance: Kendall's tau 1.00 over 6 networks; fewer than 1% of",
        ),
        (range(6), np.arange(6)[::-1] / 10, "The order here is not the paper's: Kendall's tau -1.00"),
        (range(3), [0.2, 0.1, 0.3], "this run cannot say: Kendall's tau 0.33 over 3 networks"),
        ([1, 2, 3, inf], [0.1, 0.2, 0.9, 0.3], "Among those that failed in neither, tau is 1.00 over 2 networks"),
        ([1, 2], [0.9, nan], "nothing to compare"),
        ([1], [0.1], "nothing to compare"),
    ],
)
def test_the_closing_words_follow_from_the_numbers(published, here, said):
    assert said in verdict(rows(published, here))


# -- the script -----------------------------------------------------------------------------------------------------


def files_of(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*-seed*/*.*")}


def test_one_command_trains_every_network_once_and_compares_the_orders(lab, capsys):
    asked = "--names original scaling-0 A plain --seeds 0 1"
    assert lab.run(f"{SMALL} {asked}") == 0
    out = capsys.readouterr().out
    folders = {path.name for path in Path("out").iterdir() if path.is_dir()}
    assert folders == {f"{name}-8-seed{seed}" for name in ("original", "plain") for seed in (0, 1)}
    for words in ("4 of 4: plain, seed 1: training error", "ResNet-110 on CIFAR-10", "34 layers on ImageNet", "+-"):
        assert words in out
    bars = lab.figures["ablation"].axes[2].patches
    results = {row["name"]: row for table in lab.numbers.values() for row in table["rows"]}
    ends = sorted(100 * np.mean(results[name]["test"]) for name in ("original", "scaling-0"))
    np.testing.assert_allclose([bar.get_width() for bar in bars], ends)

    kept = lab.about
    assert "2 steps of 8 images" in kept["setting"] and "seeds 0, 1" in kept["setting"]
    by_name = {row["name"]: row for table in kept["numbers"].values() for row in table["rows"]}
    assert by_name["A"]["test"] == by_name["original"]["test"] and len(by_name["A"]["test"]) == 2
    assert by_name["scaling-0"]["published"] == "fail" and by_name["scaling-0"]["test"] == by_name["plain"]["test"]
    page = Path("out/tables.md").read_text().splitlines()
    assert sum(line.startswith("| original | 6.61 | ") for line in page) == 1  # not in a table of one
    table = [line.split(",") for line in Path("out/tables.csv").read_text().splitlines()]
    assert ["what passes a change of shape", "plain", "28.54"] in [line[:3] for line in table]

    before = files_of("out")
    assert lab.run(f"{SMALL} {asked}") == 0  # everything is found finished
    assert files_of("out") == before
    capsys.readouterr()
    assert refused(capsys, lab.run(f"{SMALL} {asked} --lr 0.2"), "original-8-seed0: holds a run with schedule")


def test_a_net_that_diverges_is_a_fail_and_not_the_end(lab, capsys):
    with np.errstate(all="ignore"):
        assert lab.run(f"{SMALL} --names plain B --lr 1e30 --steps 4") == 0
    out = capsys.readouterr().out
    assert "1 of 2: plain, seed 0: fail. Step" in out and "NaN or infinity" in out
    assert Path("out/tables.md").read_text().count("| diverged | fail | 1 |") == 2
    kept = lab.about
    assert [row["test"] for table in kept["numbers"].values() for row in table["rows"]] == [[None], [None]]


def test_ctrl_c_keeps_what_there_is(lab, monkeypatch, capsys):
    train = experiment.train

    def stopped(*arguments, title, **options):
        if title.startswith("B"):
            raise Interrupted("Stopped at step 1 of 2; saved in out.")
        return train(*arguments, title=title, **options)

    monkeypatch.setattr(experiment, "train", stopped)
    assert lab.run(f"{SMALL} --names original B") == 130
    printed = capsys.readouterr()
    assert printed.err.endswith("minires: Stopped at step 1 of 2; saved in out.\n")
    assert "After Ctrl-C, the same command goes on" in printed.out
    assert Path("out/ablation.png").exists()
    before = files_of("out")
    monkeypatch.setattr(experiment, "train", train)
    assert lab.run(f"{SMALL} --names original B") == 0
    assert before.items() <= files_of("out").items()


@pytest.mark.parametrize(
    "text, message",
    [
        ("--names dropout", "invalid choice: 'dropout'"),
        ("--depth 21", "expected 6n + 2"),
        ("--steps 0", "expected a whole number above 0, got '0'"),
    ],
)
def test_impossible_options_are_named(text, message, lab, capsys):
    assert refused(capsys, lab.run(f"{SMALL} {text}"), message)


# -- the figure -----------------------------------------------------------------------------------------------------


def test_a_strand_joins_the_two_places_of_a_network_and_the_bars_are_its_errors():
    three = [
        Row("good", 6.0, [0.3, 0.4], [0.4, 0.6]),
        Row("fair", 12.0, [0.2, 0.2], [0.3, 0.3]),
        Row("lost", inf, [nan, nan], [nan, nan]),
    ]
    left, middle, right = ablation_figure([(TABLES["shortcuts"], three)]).axes
    assert [(line.get_ydata()[0], line.get_ydata()[-1]) for line in middle.lines] == [(0, 1), (1, 0), (2, 2)]
    assert [bar.get_width() for bar in left.patches[:2]] == [6.0, 12.0]
    assert [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in right.patches] == [
        (pytest.approx(0), pytest.approx(30)), (pytest.approx(1), pytest.approx(50))
    ]  # fmt: skip
    words = [text.get_text().strip() for text in (*left.texts, *right.texts)]
    assert {"6.00", "12.00", "fail", "30.0", "50.0", "diverged"} <= set(words)


def test_a_figure_of_nothing_is_refused():
    with pytest.raises(ValueError, match="ablation_figure: expected at least one table with a row"):
        ablation_figure([(TABLES["shortcuts"], [])])
