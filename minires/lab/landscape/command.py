"""After Li et al. 2018: slices through the loss of plain and residual nets, along filter-normalised random directions,
from the first weights to the last, and in the plane that holds most of the path of training::

    minires lab landscape                                        # synthetic images, 56 layers, some minutes
    minires lab landscape --data cifar10 --depths 20 --points 25
    minires lab landscape --data cifar10 --pretrained            # the trained nets that come with minires
"""

import json
import math
import zlib

import numpy as np

from minires.figures import noted
from minires.files import written_safely
from minires.lab.experiment import Table, lab_options, positive, seeds_in_words, several
from minires.lab.landscape import measure
from minires.lab.landscape.figure import lines_figure, planes_figure
from minires.lab.landscape.grid import landscapes

LINES = {
    "random": "along a random direction",
    "running": "the same, with running statistics",
    "training": "from the first weights (-1) to the last (0)",
}
STATISTICS = {
    "batch": "Batch norm takes its statistics from the measured images",
    "running": "Batch norm keeps the running statistics of the trained weights",
}
LINE = {"batch": "random", "running": "running"}
PLANES = {"batch": "plane", "running": "running_plane"}


def add_options(parser):
    usual = {"images": 128, "batch_size": 32, "lr": 0.05}  # with which 56 layers begin to learn
    lab_options(parser, nets=["plain", "resnet"], depths=[56], steps=800, **usual)
    add = parser.add_argument
    add("--points", type=positive, default=15, metavar="N", help="N x N points to a plane (default: 15)")
    add("--reach", type=float, default=1.0, help="how far random directions go, both ways (default: 1)")
    add("--moments", type=positive, default=10, metavar="N", help="moments of training on its path (default: 10)")
    seeds = "of the random directions: a line for each, the planes along the first"
    several(parser, "--direction-seeds", int, [0], seeds, metavar="SEED")
    statistics = "of batch norm, on planes: of the measured images; running, as in the authors' code"
    several(parser, "--statistics", str, list(STATISTICS), statistics, choices=STATISTICS)


def run(lab):
    options = lab.options
    if not options.reach > 0 or options.points < 3:
        got = f"{options.reach} and {options.points}"
        raise ValueError(f"expected --reach above 0 and --points of at least 3, got {got}")
    images, subjects = lab.batch(), sorted(lab.subjects(one_seed=True), key=lambda subject: subject.depth)
    lab.say(lab.setting())
    print(f"Folder: {lab.out}. After Ctrl-C, the same command goes on.")
    slices, moments, paths = {}, {}, {}
    for subject in subjects:
        moments[subject.name] = weights = trained(subject, lab)
        if len(weights) > 3:  # through three points there is always a plane
            paths[subject.name] = measure.path_plane(weights)
        slices |= slices_of(subject, weights, paths.get(subject.name), options)
    results = landscapes(slices, *images, folder=lab.out / "points")
    numbers, by_kind = {}, {}
    for key, result in results.items():
        name, _, kind = key.rpartition("-")
        kind = kind.partition(".")[0]
        by_kind.setdefault(kind, {}).setdefault(name, []).append(result)
        ticks = [ticks.tolist() for ticks in result.ticks]
        numbers[key] = {"ticks": ticks, "loss": result.loss.tolist(), "error": result.error.tolist()}
    guess = math.log(len(lab.train_set.classes))
    planes_in_words(by_kind, guess, options)
    for subject in subjects:
        if subject.name in paths:
            plane = paths[subject.name]
            found = numbers[f"{subject.name}-moments"] = along_path(subject.net, moments[subject.name], plane, images)
            print(path_in_words(subject.name, plane, found))
    return figures_of(by_kind, paths, guess, lab), numbers


# -- nets, and what is computed of them -------------------------------------------------------------------------


def trained(subject, lab):
    """Train a net, or find it trained; return its weights at some moments, the last of them its own from now on."""
    options, net = lab.options, subject.net
    at = sorted({round(step) for step in np.linspace(0, options.steps, options.moments + 1)})
    if not subject.fresh or not options.steps:
        return [measure.weights_of(net) for _ in subject.moments(lab, at)]
    about = [lab.train_set.name, options.steps, options.batch_size, options.lr]  # all that training depends on
    key = zlib.crc32(json.dumps([*about, at]).encode())
    path = lab.out / "weights" / f"{subject.name}-seed{subject.seed}-{key:08x}.npz"
    if not path.exists():
        states = [net.state_dict() for _ in subject.moments(lab, at)]
        arrays = {f"{i}/{name}": array for i, state in enumerate(states) for name, array in state.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_safely(path) as file:
            np.savez(file, **arrays)
    with np.load(path) as file:
        states = [{name: file[f"{i}/{name}"] for name in net.state_dict()} for i in range(len(at))]
    net.load_state_dict(states[-1])
    return [{name: state[name] for name, _ in net.named_parameters()} for state in states]


def slices_of(subject, moments, plane, options):
    """Return the slices of one net: {"plain-56-random": Slice, ...}; the trained weights are where alpha is 0."""
    net, name, points = subject.net, subject.name, options.points
    fine, ticks = (np.linspace(-options.reach, options.reach, n) for n in (2 * points - 1, points))
    slices = {}
    for i, seed in enumerate(options.direction_seeds):
        both = tuple(measure.random_direction(net, rng) for rng in np.random.default_rng(seed).spawn(2))
        for statistics, line in LINE.items():
            slices[f"{line}.{i}" if i else line] = measure.Slice(net, both[:1], (fine,), statistics)
            if i == 0 and statistics in options.statistics:
                slices[PLANES[statistics]] = measure.Slice(net, both, (ticks, ticks), statistics)
    if len(moments) > 1:
        onward = measure.direction_between(moments[0], moments[-1])
        slices["training"] = measure.Slice(net, (onward,), (np.linspace(-1.25, 0.25, 2 * points - 1),))
    if plane:
        low, high = plane.points.min(axis=0), plane.points.max(axis=0)
        edge = 0.2 * (high - low)
        both = np.linspace(low - edge, high + edge, points).T
        slices["path"] = measure.Slice(net, plane.directions, tuple(both), options.statistics[0])
    return {f"{name}-{kind}": slice for kind, slice in slices.items()}


def along_path(net, moments, plane, images):
    """Return the loss at each moment of training, and that of the plane where the path is drawn."""

    def loss(directions, *steps):
        ticks = (np.zeros(1),) * len(directions)
        return measure.Surface(measure.Slice(net, directions, ticks), *images)(*steps)[0]

    ways = [measure.direction_between(moments[-1], moment) for moment in moments]
    return {
        "points": plane.points.tolist(),
        "explained": plane.explained.tolist(),
        "at right angles": plane.right_angles.tolist(),
        "loss": [loss((way,), 1) for way in ways],
        "drawn": [loss(plane.directions, *point) for point in plane.points],
    }


# -- what came of it --------------------------------------------------------------------------------------------


def figures_of(by_kind, paths, guess, lab):
    options, figures = lab.options, {}
    grid = f"{options.points} x {options.points} points."
    for statistics in options.statistics:
        seed = f"Filter-normalised directions, seed {options.direction_seeds[0]}"
        words = f"{lab.note} {seed}; {grid} {STATISTICS[statistics]}."
        ending, planes = "" if statistics == "batch" else "-running", first_of(by_kind[PLANES[statistics]])
        figures[f"planes{ending}"] = noted(planes_figure(planes), words)
        figures[f"planes-gain{ending}"] = noted(planes_figure(planes, guess=guess), words)
    lines = {title: by_kind[kind] for kind, title in LINES.items() if kind in by_kind}
    words = f"{lab.note} Directions: {seeds_in_words(options.direction_seeds)}. {STATISTICS['batch']}, but where said."
    figures["lines"] = noted(lines_figure(lines), words)
    if paths:
        words = f"{lab.note} {grid} {STATISTICS[options.statistics[0]]}."
        figures["paths"] = noted(planes_figure(first_of(by_kind["path"]), paths, guess), words)
    return figures


def first_of(found):
    return {name: landscapes[0] for name, landscapes in found.items()}


def planes_in_words(by_kind, guess, options):
    """Print a table of what is in the middle of the slices, and around it."""
    print(f"\nThe loss in the middle, and on the plane; the part of it below {guess:.2f}, a guess; local minima")
    columns = "middle:.3f", "least:.3f", "most:.3g", "below:.0%", "minima", "most on lines", "minima on lines"
    table = Table("network", "statistics", *columns, first=14, least=12)
    for statistics in options.statistics:
        for name, plane in first_of(by_kind[PLANES[statistics]]).items():
            lines = [line.loss for line in by_kind[LINE[statistics]][name]]
            finite = plane.loss[np.isfinite(plane.loss)]
            least, most = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
            below, minima = np.mean(plane.loss < guess), measure.local_minima(plane.loss)
            on_lines = (" ".join(f"{of(line):.3g}" for line in lines) for of in (np.nanmax, measure.local_minima))
            table.row(name, statistics, lines[0][len(lines[0]) // 2], least, most, below, minima, *on_lines)


def path_in_words(name, plane, moments):
    shares, null = (" and ".join(f"{share:.0%}" for share in both) for both in (plane.explained, plane.right_angles))
    return (
        f"{name}: two directions hold {shares} of the variance of the path (steps of the same lengths, all at right "
        f"angles: {null}; a long random walk: 61% and 15%). Loss at its start {moments['loss'][0]:.3f}, on the plane "
        f"there {moments['drawn'][0]:.3f}."
    )
