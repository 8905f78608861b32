"""What does the loss look like around the trained weights? After Li, Xu, Taylor, Studer and Goldstein 2018.

Slices through the loss of plain and residual nets: along filter-normalised random directions, from the first weights to
the last, and in the plane that holds most of the path of training. Try it::

    python examples/loss_landscape.py                                        # synthetic images, 56 layers, some minutes
    python examples/loss_landscape.py --data cifar10 --depths 20 --points 25
    python examples/loss_landscape.py --runs runs/cifar10-30m --points 25    # trained by degradation_cifar.py

Ctrl-C, or a power cut, at any time: the same command goes on.
"""

import json
import sys

import numpy as np
from experiment import batch_of, errors_in_one_line, keep, lab_parser, load_data, positive, setting, subjects

from minires.checkpoint import CheckpointError
from minires.files import written_safely
from minires.kernels.machine.cores import num_threads
from minires.lab.grid import landscapes
from minires.lab.landscape import (
    Slice,
    Surface,
    direction_between,
    local_minima,
    path_plane,
    random_direction,
    weights_of,
)
from minires.plots import lines_figure, planes_figure

LINES = {
    "random": "along a random direction",
    "running": "the same, with running statistics",
    "training": "from the first weights (-1) to the last (0)",
}
STATISTICS = {
    "batch": "Batch norm takes its statistics from the measured images",
    "running": "Batch norm keeps the running statistics of the trained weights",
}


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line(options.script):
        train_set, _ = load_data(options)
        x, labels = batch_of(train_set, options.images)
        found = sorted(subjects(options, train_set), key=lambda subject: subject.depth)
        if options.seeds[1:]:
            raise ValueError(f"expected one seed, got {options.seeds}. Choose with --seeds.")
        note = setting(options, train_set)
        print(f"{note}\nFolder: {options.out}. After Ctrl-C, the same command goes on.")

        slices, moments, paths = {}, {}, {}
        for subject in found:
            name = subject.name
            moments[name] = trained(subject, train_set, options)
            if len(moments[name]) > 2:
                paths[name] = path_plane(moments[name])
            slices |= slices_of(subject, moments[name], paths.get(name), options)
        results = landscapes(slices, x, labels, folder=options.out / "points", workers=options.workers)

        numbers, by_kind = {}, {}
        for key, result in results.items():
            name, _, kind = key.rpartition("-")
            by_kind.setdefault(kind, {})[name] = result
            ticks = [ticks.tolist() for ticks in result.ticks]
            numbers[key] = {"ticks": ticks, "loss": result.loss.tolist(), "error": result.error.tolist()}
        print("\n" + "\n".join(planes_in_words(by_kind, len(train_set.classes))))
        for subject in found:
            if subject.name in paths:
                plane = paths[subject.name]
                numbers[f"{subject.name}-moments"] = along_path(subject.net, moments[subject.name], plane, x, labels)
                print(path_in_words(subject.name, plane, numbers[f"{subject.name}-moments"]))
        keep(options, train_set, figures_of(by_kind, paths, note, options), numbers)


def read_options(arguments):
    parser = lab_parser(
        "loss-landscape", "Draw slices of the loss landscape.", nets=["plain", "resnet"], depths=[56], steps=800
    )
    add = parser.add_argument
    add("--points", type=positive, default=15, metavar="N", help="N x N points to a plane (default: 15)")
    add("--reach", type=float, default=1.0, help="how far random directions go, both ways (default: 1)")
    add("--moments", type=positive, default=10, metavar="N", help="moments of training on its path (default: 10)")
    add("--direction-seed", type=int, default=0, metavar="SEED", help="of the random directions (default: 0)")
    add(
        "--statistics",
        choices=list(STATISTICS),
        default="batch",
        help="of batch norm, on planes: batch, of the measured images (default), or running, as in the authors' code",
    )
    add("--workers", type=positive, default=num_threads(), metavar="N", help="processes (default: one for each core)")
    parser.set_defaults(images=128, batch_size=32, lr=0.05)  # with which 56 layers begin to learn
    options = parser.parse_args(arguments)
    if not options.reach > 0 or options.points < 3:
        parser.error(f"expected --reach above 0 and --points of at least 3, got {options.reach} and {options.points}")
    return options


# -- nets, and what is computed of them -------------------------------------------------------------------------


def trained(subject, train_set, options):
    """Train a net, or find it trained; return its weights at some moments, the last of them its own from now on."""
    at = sorted({round(step) for step in np.linspace(0, options.steps, options.moments + 1)})
    if subject.run or not options.steps:
        return [weights_of(subject.net) for _ in subject.moments(train_set, options, at)]
    path = options.out / "weights" / f"{subject.name}-seed{subject.seed}.npz"
    about = {"images": train_set.name, "moments": len(at) - 1}
    about |= {"steps": options.steps, "batch size": options.batch_size, "learning rate": options.lr}
    if not path.exists():
        states = [subject.net.state_dict() for _ in subject.moments(train_set, options, at)]
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
    """The slices of one net: {"plain-56-random": Slice, ...}; the trained weights are where alpha is 0."""
    net, name = subject.net, subject.name
    delta, eta = (random_direction(net, rng) for rng in np.random.default_rng(options.direction_seed).spawn(2))
    ticks = np.linspace(-options.reach, options.reach, options.points)
    fine = np.linspace(-options.reach, options.reach, 2 * options.points - 1)
    slices = {
        f"{name}-random": Slice(net, (delta,), (fine,)),
        f"{name}-running": Slice(net, (delta,), (fine,), "running"),
        f"{name}-plane": Slice(net, (delta, eta), (ticks, ticks), options.statistics),
    }
    if len(moments) > 1:
        onward = direction_between(moments[0], moments[-1])
        slices[f"{name}-training"] = Slice(net, (onward,), (np.linspace(-1.25, 0.25, 2 * options.points - 1),))
    if plane:
        low, high = plane.points.min(axis=0), plane.points.max(axis=0)
        edge = 0.2 * (high - low)
        both = np.linspace(low - edge, high + edge, options.points).T
        slices[f"{name}-path"] = Slice(net, plane.directions, tuple(both), options.statistics)
    return slices


def along_path(net, moments, plane, x, labels):
    """The loss at each moment of training, and that of the plane where the path is drawn."""
    ticks = np.zeros(1)
    drawn = Surface(Slice(net, plane.directions, (ticks, ticks)), x, labels)
    ways = [direction_between(moments[-1], moment) for moment in moments]
    return {
        "points": plane.points.tolist(),
        "explained": plane.explained.tolist(),
        "loss": [Surface(Slice(net, (way,), (ticks,)), x, labels)(1)[0] for way in ways],
        "drawn": [drawn(*point)[0] for point in plane.points],
    }


# -- what came of it --------------------------------------------------------------------------------------------


def figures_of(by_kind, paths, note, options):
    grid = f"{options.points} x {options.points} points. {STATISTICS[options.statistics]}."
    words = f"{note} Filter-normalised directions, seed {options.direction_seed}; {grid}"
    lines = {title: by_kind[kind] for kind, title in LINES.items() if kind in by_kind}
    of_lines = f"{note} Direction: seed {options.direction_seed}. {STATISTICS['batch']}, but where said."
    figures = {"planes": planes_figure(by_kind["plane"], note=words), "lines": lines_figure(lines, of_lines)}
    if paths:
        figures["paths"] = planes_figure(by_kind["path"], paths, f"{note} {grid}")
    return figures


def planes_in_words(by_kind, classes):
    """A table of what is in the middle of the slices, and around it."""
    guess = np.log(classes)
    below = f"{guess:.2f}, a guess"
    yield f"{'':12}{'loss at the middle':^24}{'loss on the plane':^20}{'part of it below':>18}{'local':>9}"
    yield f"{'network':12}{'batch':>10}{'running':>10}{'':4}{'least':>10}{'most':>10}{below:>18}{'minima':>9}"
    for name, plane in by_kind["plane"].items():
        batch, running = (by_kind[kind][name].loss for kind in ("random", "running"))
        middle = len(batch) // 2
        finite = plane.loss[np.isfinite(plane.loss)]
        least, most = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
        yield (
            f"{name:12}{batch[middle]:>10.3f}{running[middle]:>10.3f}{'':4}{least:>10.3f}{most:>10.3g}"
            f"{np.mean(plane.loss < guess):>18.0%}{local_minima(plane.loss):>9}"
        )


def path_in_words(name, plane, moments):
    shares = " and ".join(f"{share:.0%}" for share in plane.explained)
    return (
        f"{name}: two directions hold {shares} of the variance of the path (a random walk: 61 % and 15 %). "
        f"Loss at its start {moments['loss'][0]:.3f}, on the plane there {moments['drawn'][0]:.3f}."
    )


if __name__ == "__main__":
    sys.exit(main())
