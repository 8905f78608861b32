"""After Li et al. 2018: slices through the loss of plain and residual nets, along filter-normalised random directions,
from the first weights to the last, and in the plane that holds most of the path of training::

    minires lab landscape                                        # synthetic images, 56 layers, some minutes
    minires lab landscape --data cifar10 --depths 20 --points 25
    minires lab landscape --runs runs/cifar10-30m --points 25    # trained by degradation_cifar.py
"""

import json
import math
import zlib

import numpy as np

from minires.figures import noted
from minires.files import written_safely
from minires.lab.experiment import Table, each_once, lab_options, positive
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
PLANES = {"batch": "plane", "running": "running_plane"}


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[56], steps=800)
    add = parser.add_argument
    add("--points", type=positive, default=15, metavar="N", help="N x N points to a plane (default: 15)")
    add("--reach", type=float, default=1.0, help="how far random directions go, both ways (default: 1)")
    add("--moments", type=positive, default=10, metavar="N", help="moments of training on its path (default: 10)")
    add("--direction-seed", type=int, default=0, metavar="SEED", help="of the random directions (default: 0)")
    statistics = "of batch norm, on planes: of the measured images; running, as in the authors' code (default: both)"
    add("--statistics", choices=list(STATISTICS), nargs="+", default=list(STATISTICS), help=statistics)
    parser.set_defaults(images=128, batch_size=32, lr=0.05)  # with which 56 layers begin to learn


def run(lab):
    options = lab.options
    if not options.reach > 0 or options.points < 3:
        got = f"{options.reach} and {options.points}"
        raise ValueError(f"expected --reach above 0 and --points of at least 3, got {got}")
    images, subjects = lab.batch(), sorted(lab.subjects(one_seed=True), key=lambda subject: subject.depth)
    options.statistics = each_once(options.statistics)
    lab.say(lab.setting())
    print(f"Folder: {lab.out}. After Ctrl-C, the same command goes on.")
    slices, moments, paths = {}, {}, {}
    for subject in subjects:
        moments[subject.name] = weights = trained(subject, lab)
        if len(weights) > 2:
            paths[subject.name] = measure.path_plane(weights)
        slices |= slices_of(subject, weights, paths.get(subject.name), options)
    results = landscapes(slices, *images, folder=lab.out / "points")
    numbers, by_kind = {}, {}
    for key, result in results.items():
        name, _, kind = key.rpartition("-")
        by_kind.setdefault(kind, {})[name] = result
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
    delta, eta = (measure.random_direction(net, rng) for rng in np.random.default_rng(options.direction_seed).spawn(2))
    fine, ticks = (np.linspace(-options.reach, options.reach, n) for n in (2 * points - 1, points))
    slices = {
        "random": measure.Slice(net, (delta,), (fine,)),
        "running": measure.Slice(net, (delta,), (fine,), "running"),
    }
    for statistics in options.statistics:
        slices[PLANES[statistics]] = measure.Slice(net, (delta, eta), (ticks, ticks), statistics)
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
        seed = f"Filter-normalised directions, seed {options.direction_seed}"
        words = f"{lab.note} {seed}; {grid} {STATISTICS[statistics]}."
        ending, planes = "" if statistics == "batch" else "-running", by_kind[PLANES[statistics]]
        figures[f"planes{ending}"] = noted(planes_figure(planes), words)
        figures[f"planes-gain{ending}"] = noted(planes_figure(planes, guess=guess), words)
    lines = {title: by_kind[kind] for kind, title in LINES.items() if kind in by_kind}
    words = f"{lab.note} Direction: seed {options.direction_seed}. {STATISTICS['batch']}, but where said."
    figures["lines"] = noted(lines_figure(lines), words)
    if paths:
        words = f"{lab.note} {grid} {STATISTICS[options.statistics[0]]}."
        figures["paths"] = noted(planes_figure(by_kind["path"], paths, guess), words)
    return figures


def planes_in_words(by_kind, guess, options):
    """Print a table of what is in the middle of the slices, and around it."""
    print(f"\nThe loss in the middle, and on the plane; the part of it below {guess:.2f}, a guess; local minima")
    columns = "middle:.3f", "least:.3f", "most:.3g", "below:.0%", "minima"
    table = Table("network", "statistics", *columns, first=14, least=12)
    for statistics in options.statistics:
        line = "random" if statistics == "batch" else "running"
        for name, plane in by_kind[PLANES[statistics]].items():
            middle, finite = by_kind[line][name].loss, plane.loss[np.isfinite(plane.loss)]
            least, most = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
            below, minima = np.mean(plane.loss < guess), measure.local_minima(plane.loss)
            table.row(name, statistics, middle[len(middle) // 2], least, most, below, minima)


def path_in_words(name, plane, moments):
    shares, null = (" and ".join(f"{share:.0%}" for share in both) for both in (plane.explained, plane.right_angles))
    return (
        f"{name}: two directions hold {shares} of the variance of the path (steps of the same lengths, all at right "
        f"angles: {null}; a long random walk: 61% and 15%). Loss at its start {moments['loss'][0]:.3f}, on the plane "
        f"there {moments['drawn'][0]:.3f}."
    )
