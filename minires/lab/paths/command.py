"""After Veit, Wilber and Belongie 2016. Delete and swap blocks of a trained net, with a plain one as control; measure
how much gradient comes down the paths of each length; and train a net of which each step uses only as many random
blocks as the effective paths are long, for as many steps and for as much arithmetic::

    minires lab paths                                    # synthetic images, 20 layers, some minutes
    minires lab paths --data cifar10 --steps 1000
    minires lab paths --runs runs/cifar10-30m --depths 56    # trained by degradation_cifar.py
"""

import numpy as np

from minires.data import batches
from minires.figures import noted
from minires.lab.experiment import count, for_images, lab_options, whole
from minires.lab.paths import measure
from minires.lab.paths.figure import lesions_figure, paths_figure
from minires.lab.snapshots import snapshots
from minires.networks import network
from minires.train import evaluate


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[20], steps=400, images=500)
    add = parser.add_argument
    add("--paths", type=whole, default=8, metavar="N", help="paths drawn of each length (default: 8)")
    effective = "steps of training on effective paths (default: 400; 0: none)"
    add("--effective-steps", type=whole, default=400, help=effective)


def run(lab):
    test_set, subjects = lab.test_set[: lab.options.images], lab.subjects(one_seed=True)
    residual = [subject for subject in subjects if subject.kind != "plain"]
    for subject in residual:  # a net without paths is refused before any is trained
        measure.residual_blocks(subject.net, subject.name)
    lab.say(lab.setting("test"))
    numbers, figures = {}, {}
    for subject in subjects:
        subject.trained(lab)
        name, net, rng = subject.name, subject.net, subject.seed
        n = len(measure.blocks_of(net))
        counts, swaps = sorted({min(k, n) for k in (1, 2, 3, 5, n // 3, n // 2)}), [1, 2, 4, 8, 16]
        one, several = measure.delete_each(net, test_set), measure.delete_some(net, test_set, counts, rng=rng)
        orders = measure.reorder_some(net, test_set, swaps, rng=rng) if measure.swappable(net) else []
        numbers[name] = {"one": one, "several": several, "orders": orders}
        print("\n" + lesion_words(name, **numbers[name]))
        if subject in residual:
            figures[f"paths-{name}"], numbers[name]["paths"] = follow_paths(subject, lab)
    figures["lesions"] = lesions_figure(numbers)
    if lab.options.effective_steps and residual:
        numbers["effective"] = train_on_effective_paths(residual[0], lab, test_set)
    return figures, numbers


def lesion_words(name, one, several, orders):
    alone = {path: error for path, error in one.items() if path}
    worst = max(alone, key=alone.get)
    some = "; ".join(f"{k}: {np.mean(errors):.1%}" for k, errors in several.items())
    swapped = f"lowest tau {min(orders)[0]:.2f}: {min(orders)[1]:.1%}" if orders else "none could be"
    return (
        f"{name}: test error {one['']:.1%}. One block deleted: median {np.median(list(alone.values())):.1%}, worst "
        f"{alone[worst]:.1%} ({worst}).\n  Blocks deleted at random: {some}. Blocks swapped: {swapped}."
    )


def follow_paths(subject, lab):
    """Print and draw the sizes of gradients by path length; return the figure and the numbers to keep."""
    net, images = subject.net.eval(), min(8, lab.options.images)
    x, labels = next(batches(lab.train_set, images))
    sampled = measure.sample_path_gradients(net, x, labels, samples=max(1, lab.options.paths))
    parts = measure.gradient_by_length(net, x, labels)
    sums = np.linalg.norm(parts.reshape(len(sampled), -1).astype(np.float64), axis=1)
    n, means = len(sampled) - 1, np.array([sampled[k].mean() for k in sampled])
    shares = measure.path_lengths(n)
    (first, last), of_sums = (measure.effective_lengths(weights) for weights in (shares * means, sums))
    slope = np.exp(np.polyfit(np.arange(1, n + 1), np.log(np.maximum(means[1:], 1e-300)), 1)[0])
    print(
        f"  {n} blocks, 2^{n} paths of {n / 2:g} branches on average. One branch more multiplies the gradient of a "
        f"path by {slope:.2f}.\n  95 % of paths times size: lengths {first} to {last}, "
        f"{shares[first : last + 1].sum():.2%} of all paths; of the sizes of the sums: {of_sums[0]} to {of_sums[1]}."
    )
    numbers = {"sampled_mean": means.tolist(), "sum": sums.tolist(), "effective": [first, last], "factor": float(slope)}
    words = f"{lab.note} Gradients of {subject.name} in evaluation mode on {images} training images."
    return noted(paths_figure(shares, sampled, sums, (first, last)), words), numbers


def train_on_effective_paths(subject, lab, test_set):
    """Train the whole net; one of which each step uses 23 of 54 blocks, or that part of fewer; and the same for longer.

    The third takes as much arithmetic as the first, and a block of it as many steps.
    """
    n, steps, results = len(measure.blocks_of(subject.net)), lab.options.effective_steps, {}
    kept = max(1, round(n * 23 / 54))
    few = f"{kept} of {n} random blocks"
    for blocks, taken in (("all blocks", steps), (few, steps), (few, steps * n // kept)):
        net_rng, data_rng = np.random.default_rng(subject.seed).spawn(2)  # the same start and batches
        net, name = network(subject.name, **for_images(lab.train_set), rng=net_rng), f"{count(taken, 'step')}, {blocks}"
        if blocks == few:
            net = measure.RandomBlocks(net, kept, rng=subject.seed)
        at, size = [taken * 2 // 3, taken], lab.options.batch_size
        *_, end = snapshots(net, lab.train_set, at, batch_size=size, rng=data_rng, title=name)
        test = evaluate(net, test_set)[0]
        print(f"{subject.name}, {name}: training error {end.error:.1%} in the last third, test error {test:.1%}")
        results[name] = {"training": end.error, "test": test}
    return results
