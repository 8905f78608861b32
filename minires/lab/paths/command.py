"""Is a residual net an ensemble of shallow ones? After Veit, Wilber and Belongie 2016.

n residual blocks make 2^n paths from the input to the output. Delete blocks and swap blocks of a trained net, with a
plain one as control; measure how much gradient comes down the paths of each length; and train a net of which each step
uses only as many random blocks as the effective paths are long. Try it::

    minires lab paths                                    # synthetic images, 20 layers, some minutes
    minires lab paths --data cifar10 --steps 1000
    minires lab paths --runs runs/cifar10-30m --depths 56    # trained by degradation_cifar.py
"""

import numpy as np

from minires.data import batches
from minires.lab.experiment import Experiment, for_images, lab_options, whole
from minires.lab.paths.measure import (
    RandomBlocks,
    blocks_of,
    delete_each,
    delete_some,
    effective_lengths,
    gradient_by_length,
    path_lengths,
    reorder_some,
    residual_blocks,
    sample_path_gradients,
    swappable,
)
from minires.lab.snapshots import snapshots
from minires.networks import network
from minires.train import evaluate


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[20], steps=400)
    add = parser.add_argument
    add("--paths", type=whole, default=8, metavar="N", help="paths drawn of each length (default: 8)")
    add(
        "--effective-steps",
        type=whole,
        default=400,
        help="steps of training on effective paths (default: 400; 0: none)",
    )
    parser.set_defaults(images=500)


def run(options):
    from minires.lab.paths.figure import lesions_figure, paths_figure  # here: matplotlib takes a while to load

    lab = Experiment(options)
    test_set, subjects = lab.test_set[: options.images], lab.subjects()
    lab.one_seed()
    for subject in subjects:
        if subject.kind != "plain":  # a net without paths is refused before any is trained
            residual_blocks(subject.net, subject.name)
    note, numbers, figures = lab.setting("test"), {}, {}
    print(note)
    singles, several, orders = {}, {}, {}
    for subject in subjects:
        subject.trained(lab)
        name, net = subject.name, subject.net
        n = len(blocks_of(net))
        singles[name] = delete_each(net, test_set)
        several[name] = delete_some(
            net, test_set, sorted({min(k, n) for k in (1, 2, 3, 5, n // 3, n // 2)}), rng=subject.seed
        )
        orders[name] = reorder_some(net, test_set, [1, 2, 4, 8, 16], rng=subject.seed) if swappable(net) else []
        numbers[name] = {"one": singles[name], "several": several[name], "orders": orders[name]}
        print("\n" + lesion_words(name, singles[name], several[name], orders[name]))
        if subject.kind != "plain":
            shares, sampled, sums, effective, numbers[name]["paths"] = follow_paths(net, lab)
            words = f"{note} Gradients of {name} in evaluation mode on {min(8, options.images)} training images."
            figures[f"paths-{name}"] = paths_figure(shares, sampled, sums, effective, words)
    figures["lesions"] = lesions_figure(singles, several, orders, note)
    residual = next((subject for subject in subjects if subject.kind != "plain"), None)
    if options.effective_steps and residual:
        numbers["effective"] = train_on_effective_paths(residual, lab, test_set)
    lab.keep(figures, numbers, note)


def lesion_words(name, single, several, orders):
    worst = max((path for path in single if path), key=single.get)
    some = "; ".join(f"{k}: {np.mean(errors):.1%}" for k, errors in several.items())
    swapped = f"lowest tau {min(orders)[0]:.2f}: {min(orders)[1]:.1%}" if orders else "none could be"
    return (
        f"{name}: test error {single['']:.1%}. One block deleted: median "
        f"{np.median([error for path, error in single.items() if path]):.1%}, worst {single[worst]:.1%} ({worst}).\n"
        f"  Blocks deleted at random: {some}. Blocks swapped: {swapped}."
    )


def follow_paths(net, lab):
    """Return sizes of gradients by path length, as ``paths_figure`` takes them, and the numbers to keep."""
    x, labels = next(batches(lab.train_set, min(8, lab.options.images)))
    net.eval()
    sampled = sample_path_gradients(net, x, labels, samples=max(1, lab.options.paths))
    sums = np.linalg.norm(gradient_by_length(net, x, labels).reshape(len(sampled), -1).astype(np.float64), axis=1)
    shares = path_lengths(len(sampled) - 1)
    means = np.array([sampled[k].mean() for k in sampled])
    first, last = effective_lengths(shares * means)
    slope = np.exp(np.polyfit(np.arange(1, len(means)), np.log(np.maximum(means[1:], 1e-300)), 1)[0])
    n, of_sums = len(shares) - 1, effective_lengths(sums)
    print(
        f"  {n} blocks, 2^{n} paths of {n / 2:g} branches on average. One branch more multiplies the gradient of a "
        f"path by {slope:.2f}.\n  95 % of paths times size: lengths {first} to {last}, "
        f"{shares[first : last + 1].sum():.2%} of all paths; of the sizes of the sums: {of_sums[0]} to {of_sums[1]}."
    )
    numbers = {"sampled_mean": means.tolist(), "sum": sums.tolist(), "effective": [first, last], "factor": float(slope)}
    return shares, sampled, sums, (first, last), numbers


def train_on_effective_paths(subject, lab, test_set):
    """Train the whole net, and one of which each step uses 23 of 54 blocks, or that part of fewer."""
    options, n = lab.options, len(blocks_of(subject.net))
    kept, results = max(1, round(n * 23 / 54)), {}
    for name in ("all blocks", f"{kept} of {n} random blocks"):
        net_rng, data_rng = np.random.default_rng(subject.seed).spawn(2)  # the same start and batches
        net = network(subject.name, **for_images(lab.train_set), rng=net_rng)
        if name != "all blocks":
            net = RandomBlocks(net, kept, rng=subject.seed)
        at, size = [0, options.effective_steps], options.batch_size
        *_, end = snapshots(net, lab.train_set, at, batch_size=size, rng=data_rng, title=name)
        results[name] = {"training": end.error, "test": evaluate(net, test_set)[0]}
        print(f"{subject.name}, {options.effective_steps} steps with {name}: test error {results[name]['test']:.1%}")
    return results
