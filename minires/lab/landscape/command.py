"""What does the loss look like around the trained weights? After Li, Xu, Taylor, Studer and Goldstein 2018.

Slices through the loss of plain and residual nets: along filter-normalised random directions, from the first weights to
the last, and in the plane that holds most of the path of training. Try it::

    minires lab landscape                                        # synthetic images, 56 layers, some minutes
    minires lab landscape --data cifar10 --depths 20 --points 25
    minires lab landscape --runs runs/cifar10-30m --points 25    # trained by degradation_cifar.py

Ctrl-C, or a power cut, at any time: the same command goes on.
"""

import json
import math

import numpy as np

from minires.checkpoint import CheckpointError
from minires.files import written_safely
from minires.kernels.machine.cores import num_threads
from minires.lab.experiment import Experiment, Table, each_once, lab_options, number, positive
from minires.lab.landscape.grid import landscapes
from minires.lab.landscape.measure import (
    Slice,
    Surface,
    direction_between,
    local_minima,
    path_plane,
    random_direction,
    weights_of,
)

LINES = {
    "random": "along a random direction",
    "running": "the same, with running statistics",
    "training": "from the first weights (-1) to the last (0)",
}
STATISTICS = {
    "batch": "Batch norm takes its statistics from the measured images",
    "running": "Batch norm keeps the running statistics of the trained weights",
}


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[56], steps=800)
    add = parser.add_argument
    add("--points", type=positive, default=15, metavar="N", help="N x N points to a plane (default: 15)")
    add("--reach", type=float, default=1.0, help="how far random directions go, both ways (default: 1)")
    add("--moments", type=positive, default=10, metavar="N", help="moments of training on its path (default: 10)")
    add("--direction-seed", type=int, default=0, metavar="SEED", help="of the random directions (default: 0)")
    statistics = "of batch norm, on planes: of the measured images; running, as in the authors' code (default: both)"
    add("--statistics", choices=list(STATISTICS), nargs="+", default=list(STATISTICS), help=statistics)
    add("--workers", type=positive, default=num_threads(), metavar="N", help="processes (default: one for each core)")
    parser.set_defaults(images=128, batch_size=32, lr=0.05)  # with which 56 layers begin to learn


def run(options):
    if not options.reach > 0 or options.points < 3:
        raise ValueError(
            f"expected --reach above 0 and --points of at least 3, got {options.reach} and {options.points}"
        )
    lab = Experiment(options)
    x, labels = lab.batch()
    subjects = sorted(lab.subjects(), key=lambda subject: subject.depth)
    lab.one_seed()
    options.statistics, note = each_once(options.statistics), lab.setting()
    print(f"{note}\nFolder: {lab.out}. After Ctrl-C, the same command goes on.")
    slices, moments, paths = {}, {}, {}
    for subject in subjects:
        name = subject.name
        moments[name] = trained(subject, lab)
        if len(moments[name]) > 2:
            paths[name] = path_plane(moments[name])
        slices |= slices_of(subject, moments[name], paths.get(name), options)
    results = landscapes(slices, x, labels, folder=lab.out / "points", workers=options.workers)

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
            numbers[f"{subject.name}-moments"] = along_path(subject.net, moments[subject.name], plane, x, labels)
            print(path_in_words(subject.name, plane, numbers[f"{subject.name}-moments"]))
    lab.keep(figures_of(by_kind, paths, note, guess, options), numbers, note)


# -- nets, and what is computed of them -------------------------------------------------------------------------


def trained(subject, lab):
    """Train a net, or find it trained; return its weights at some moments, the last of them its own from now on."""
    options = lab.options
    at = sorted({round(step) for step in np.linspace(0, options.steps, options.moments + 1)})
    if not subject.fresh or not options.steps:
        return [weights_of(subject.net) for _ in subject.moments(lab, at)]
    path = lab.out / "weights" / f"{subject.name}-seed{subject.seed}.npz"
    about = {"images": lab.train_set.name, "moments": len(at) - 1}
    about |= {"steps": options.steps, "batch size": options.batch_size, "learning rate": options.lr}
    if not path.exists():
        states = [subject.net.state_dict() for _ in subject.moments(lab, at)]
        arrays = {f"{i}/{name}": array for i, state in enumerate(states) for name, array in state.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_safely(path) as file:
            np.savez(file, about=json.dumps(about), **arrays)
    with np.load(path) as file:
        there = json.loads(str(file["about"]))
        for key, here in about.items():
            if there.get(key) != here:
                raise CheckpointError(
                    f"{path}: trained with {key} = {there.get(key)}, asked for {key} = {here}. "
                    "Choose another folder with --out, or delete this one."
                )
        states = [{name: file[f"{i}/{name}"] for name in subject.net.state_dict()} for i in range(len(at))]
    subject.net.load_state_dict(states[-1])
    return [{name: state[name] for name, _ in subject.net.named_parameters()} for state in states]


def slices_of(subject, moments, plane, options):
    """Return the slices of one net: {"plain-56-random": Slice, ...}; the trained weights are where alpha is 0."""
    net, name = subject.net, subject.name
    delta, eta = (random_direction(net, rng) for rng in np.random.default_rng(options.direction_seed).spawn(2))
    ticks = np.linspace(-options.reach, options.reach, options.points)
    fine = np.linspace(-options.reach, options.reach, 2 * options.points - 1)
    slices = {
        f"{name}-random": Slice(net, (delta,), (fine,)),
        f"{name}-running": Slice(net, (delta,), (fine,), "running"),
    }
    for statistics in options.statistics:
        slices[f"{name}-{plane_of(statistics)}"] = Slice(net, (delta, eta), (ticks, ticks), statistics)
    if len(moments) > 1:
        onward = direction_between(moments[0], moments[-1])
        slices[f"{name}-training"] = Slice(net, (onward,), (np.linspace(-1.25, 0.25, 2 * options.points - 1),))
    if plane:
        low, high = plane.points.min(axis=0), plane.points.max(axis=0)
        edge = 0.2 * (high - low)
        both = np.linspace(low - edge, high + edge, options.points).T
        slices[f"{name}-path"] = Slice(net, plane.directions, tuple(both), options.statistics[0])
    return slices


def plane_of(statistics):
    return "plane" if statistics == "batch" else "running_plane"


def along_path(net, moments, plane, x, labels):
    """Return the loss at each moment of training, and that of the plane where the path is drawn."""
    ticks = np.zeros(1)
    drawn = Surface(Slice(net, plane.directions, (ticks, ticks)), x, labels)
    ways = [direction_between(moments[-1], moment) for moment in moments]
    return {
        "points": plane.points.tolist(),
        "explained": plane.explained.tolist(),
        "at right angles": plane.right_angles.tolist(),
        "loss": [Surface(Slice(net, (way,), (ticks,)), x, labels)(1)[0] for way in ways],
        "drawn": [drawn(*point)[0] for point in plane.points],
    }


# -- what came of it --------------------------------------------------------------------------------------------


def figures_of(by_kind, paths, note, guess, options):
    from minires.lab.landscape.figure import lines_figure, planes_figure  # here: matplotlib takes a while to load

    grid = f"{options.points} x {options.points} points."
    figures = {}
    for statistics in options.statistics:
        words = f"{note} Filter-normalised directions, seed {options.direction_seed}; {grid} {STATISTICS[statistics]}."
        ending, planes = "" if statistics == "batch" else "-running", by_kind[plane_of(statistics)]
        figures[f"planes{ending}"] = planes_figure(planes, note=words)
        figures[f"planes-gain{ending}"] = planes_figure(planes, note=words, guess=guess)
    lines = {title: by_kind[kind] for kind, title in LINES.items() if kind in by_kind}
    of_lines = f"{note} Direction: seed {options.direction_seed}. {STATISTICS['batch']}, but where said."
    figures["lines"] = lines_figure(lines, of_lines)
    if paths:
        words = f"{note} {grid} {STATISTICS[options.statistics[0]]}."
        figures["paths"] = planes_figure(by_kind["path"], paths, words, guess)
    return figures


def planes_in_words(by_kind, guess, options):
    """Print a table of what is in the middle of the slices, and around it."""
    print(f"\nThe loss in the middle, and on the plane; the part of it below {guess:.2f}, a guess; local minima")
    table = Table("network", "statistics", "middle", "least", "most", "below", "minima", first=14, least=12)
    for statistics in options.statistics:
        line = "random" if statistics == "batch" else "running"
        for name, plane in by_kind[plane_of(statistics)].items():
            middle, finite = by_kind[line][name].loss, plane.loss[np.isfinite(plane.loss)]
            least, most = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
            found = number(middle[len(middle) // 2], ".3f"), number(least, ".3f"), number(most)
            table.row(name, statistics, *found, f"{np.mean(plane.loss < guess):.0%}", local_minima(plane.loss))


def path_in_words(name, plane, moments):
    shares, null = (" and ".join(f"{share:.0%}" for share in both) for both in (plane.explained, plane.right_angles))
    return (
        f"{name}: two directions hold {shares} of the variance of the path (steps of the same lengths, all at right "
        f"angles: {null}; a long random walk: 61% and 15%). Loss at its start {moments['loss'][0]:.3f}, on the plane "
        f"there {moments['drawn'][0]:.3f}."
    )
