"""The part of a report that is read from the logs: curves, final errors, errors beside the paper's."""

import numpy as np

from minires.lab.degradation.figure import TITLES, error_figures
from minires.lab.degradation.measure import PAPER_STEPS, PUBLISHED, final_errors, percent
from minires.lab.runs import by_key, name_of
from minires.page import bullets, figures, table
from minires.report.inside import network_of

NONE = "–"


def curves(group):
    """The degradation figure, a panel for each family of networks."""
    runs = [run for run in group if run.log]
    if not runs:
        return "<p>No run has logged anything yet.</p>"
    panels, nets = {}, by_key(runs)
    for key, seeds in nets.items():
        shown = [run for run in seeds if run.finished] or seeds
        panels.setdefault(TITLES.get(key[0], key[0]), {})[name_of(key)] = [run.log for run in shown]
    drawn = figures((figure, _in_words(title, panels[title])) for title, figure in error_figures(panels).items())
    several = " Several seeds: their mean, and a band from the lowest to the highest." * (len(runs) > len(nets))
    return (
        f"{drawn}\n<p>Thin and dashed: training error, over the augmented batches as they were trained on. Bold: test "
        f"error, in evaluation mode.{several}</p>"
    )


def _in_words(title, panel):
    ends = []
    for name, logs in panel.items():
        train, _, test = zip(*map(final_errors, logs))
        tested = "" if np.isnan(test).any() else f", {_percent(test)} % test error"
        ends.append(f"{name} ends at {_percent(train)} % training error{tested}")
    return f"Training and test error over the iterations, {title}: {'; '.join(ends)}."


def _percent(errors):
    """Mean of the seeds in %, and their standard deviation."""
    return NONE if np.isnan(errors).any() else percent(errors).removesuffix(" %").replace("+-", "±")


def errors(group):
    """The table of what each network came to; an unfinished run has a row of its own."""
    rows, bad = [], []
    for key, seeds in by_key(group).items():
        finished = [run for run in seeds if run.finished]
        for runs in filter(None, [finished, *([run] for run in seeds if not run.finished)]):
            bad += [len(rows)] * (runs is not finished)
            about = [", ".join(run.seed for run in runs), str(key[1] or NONE), _parameters(runs[0])]
            rows.append([name_of(key) + " †" * (runs is not finished), *_numbers(runs), *about])
    head = ["network", "training", "lowest training", "test", "lowest test", "steps", "seeds", "layers", "parameters"]
    notes = (
        "Training: error of the last tenth of the steps, and the lowest of any line of the log. Test: error after the "
        "last step, and the lowest of all tests; that one is chosen by the test images themselves, and so too good."
    )
    notes += " †: not finished." * bool(bad)
    notes += " ±: standard deviation over the seeds." * any("±" in cell for row in rows for cell in row)
    return f"{table('Training and test error, in %', head, rows, bad)}\n<p>{notes}</p>"


def _numbers(runs):
    """Final and lowest training error, final and lowest test error, steps."""
    if not runs[0].log:
        return [NONE] * 5
    train, _, test = zip(*(final_errors(run.log) for run in runs))
    lowest = [
        _percent([min((line["error"] for line in run.log if line["kind"] == kind), default=np.nan) for run in runs])
        for kind in ("train", "test")
    ]
    steps = ", ".join(dict.fromkeys(f"{run.log[-1]['step']:,}" for run in runs))
    return [_percent(train), lowest[0], _percent(test), lowest[1], steps]


def _parameters(run):
    try:
        return f"{sum(parameter.data.size for parameter in network_of(run).parameters()):,}"
    except ValueError:  # a name that network() does not know
        return NONE


def beside_the_paper(group):
    """Test errors of He et al. 2015 beside these, and what depth changes there and here."""
    finished = {key: runs for key, runs in by_key(run for run in group if run.finished).items() if key in PUBLISHED}
    if not finished:
        return ""
    results = {key: np.array([final_errors(run.log) for run in runs]) for key, runs in finished.items()}
    on_cifar, rows = "CIFAR-10" in str(group[0].config.get("data")), []
    for key in finished:
        error, words = PUBLISHED[key]
        here, words = _percent(results[key][:, 2]), words.partition(" (")[0].replace("+-", "±").replace("about", "≈")
        apart = _points(100 * results[key][:, 2].mean() - error, 1, words) if on_cifar and error is not None else NONE
        rows.append([name_of(key), here, words, apart])
    steps = " or ".join(dict.fromkeys(f"{run.log[-1]['step']:,}" for runs in finished.values() for run in runs))
    caption = (
        f"Test error in %: here after {steps} steps, in He et al. 2015 after {PAPER_STEPS:,} (their Table 6; plain "
        "networks read off Fig. 6)"
    )
    said = [table(caption, ["network", "here", "paper", "difference"], rows)]
    if not on_cifar:
        said.append("<p>The paper’s images are CIFAR-10; these are others, so errors themselves do not compare.</p>")
    rows = _by_depth(results)
    if rows:
        head = ["", "training, here", "test, here", "test, paper"]
        said.append(table("What more layers change, in points of error: + is worse", head, rows))
    if any(runs[0].log[-1]["step"] < PAPER_STEPS for runs in finished.values()):
        said.append(
            "<p>A shorter training ends at a higher error than the paper’s. What compares is the direction in which "
            "depth moves it, and with more steps even that may turn.</p>"
        )
    departures = dict.fromkeys(text for run in group for text in run.deviations)
    if departures:
        said.append(f"<p>Departures from the paper, as the runs note them:</p>{bullets(departures)}")
    return "\n".join(said)


def _by_depth(results):
    """For each family, the deepest network against the shallowest."""
    rows = []
    for family in TITLES:
        depths = sorted(depth for net, depth in results if net == family)
        if len(depths) < 2:
            continue
        shallow, deep = (family, depths[0]), (family, depths[-1])
        train, _, test = results[deep].mean(axis=0) - results[shallow].mean(axis=0)
        paper = NONE
        if PUBLISHED[shallow].error is not None and PUBLISHED[deep].error is not None:
            paper = _points(PUBLISHED[deep].error - PUBLISHED[shallow].error, 2, PUBLISHED[deep].words)
        rows.append([f"{family} {depths[0]} → {depths[-1]}", _points(100 * train, 1), _points(100 * test, 1), paper])
    return rows


def _points(change, digits, published=""):
    """A difference with its sign; as rough as the published number that it was made of."""
    about = "≈ " if published.startswith(("≈", "about")) else ""
    return NONE if np.isnan(change) else f"{about}{change:+.{1 if about else digits}f}".replace("-", "−")
