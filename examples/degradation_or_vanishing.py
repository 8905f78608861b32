"""Is degradation a matter of vanishing gradients, of shattered ones, or of identities that are hard to learn?

The three explanations held against the same networks, plain and residual, shallow and deep: the sizes of gradients
with batch norm, without it and without He's initialisation; how far from an image its gradient still points the same
way, and the same for networks of one number, where it can be drawn; how far each block is from handing on its input.
The table at the end says which of these numbers separates plain from residual networks. Try it::

    python examples/degradation_or_vanishing.py                               # synthetic images, a few minutes
    python examples/degradation_or_vanishing.py --data cifar10 --seeds 0 1 2 --steps 0
    python examples/degradation_or_vanishing.py --runs runs/cifar10-30m       # trained by degradation_cifar.py
"""

import sys

import numpy as np
from experiment import batch_of, errors_in_one_line, keep, lab_parser, load_data, positive, setting, subjects

from minires.lab.explanations import (
    DISTANCES,
    closing_table,
    gradient_correlation,
    identity_distance,
    measure,
    two_depths,
)
from minires.lab.shattered import (
    POINTS,
    autocorrelation,
    correlation_by_depth,
    independent_points,
    noise,
    scalar_gradients,
    scalar_net,
)
from minires.lab.variants import scaled_weights, without_batchnorm
from minires.plots import explanations_figure, shattered_figure
from minires.probe import gradient_flow

VARIANTS = {
    "batch norm, He": lambda net: net,
    "batch norm, variance 1/fan_in": lambda net: scaled_weights(net, 0.5**0.5),
    "no batch norm, He": without_batchnorm,
    "no batch norm, variance 1/fan_in": lambda net: scaled_weights(without_batchnorm(net), 0.5**0.5),
}
SCALAR_NETS = {  # layers, residual, beta
    "1 layer": (1, False, 1.0),
    "24 layers": (24, False, 1.0),
    "50 layers, residual": (50, True, 1.0),
    "50, residual, beta 0.1": (50, True, 0.1),
}
SCALAR_DEPTHS = {"plain": [1, 2, 3, 4, 5, 6, 8], "residual": [1, 2, 4, 8, 16, 32], "residual, beta 0.1": [1, 4, 16, 50]}
SCALAR_DEPTHS |= {f"{kind}, independent": SCALAR_DEPTHS[kind] for kind in ("plain", "residual")}


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line(options.script):
        train_set, _ = load_data(options)
        batch = batch_of(train_set, options.images)
        chosen = subjects(options, train_set)
        two_depths([(subject.kind, subject.depth) for subject in chosen])  # before anything is computed
        note = setting(options, train_set)
        results = look_at(chosen, options, train_set, batch, note)
        figures = {"shattered-gradients": scalar_experiment(options.networks, options.seeds[0])}
        figures |= results.pop("figures")
        tables = {when: closing_table(numbers) for when, numbers in results["tables"].items()}
        for when, table in tables.items():
            print(f"\n{when}\n\n{table}")
        keep(options, train_set, figures, {"tables": tables, "errors": results["errors"], "measured": flat(results)})
        options.out.joinpath("tables.md").write_text(
            "\n\n".join(f"{when}\n\n{table}" for when, table in tables.items()) + "\n", encoding="utf-8"
        )


def read_options(arguments):
    parser = lab_parser(
        "degradation-or-vanishing", "Hold three explanations of degradation against the same networks.",
        nets=["plain", "resnet"], depths=[20, 56], steps=160,
    )  # fmt: skip
    parser.add_argument(
        "--networks", type=positive, default=10, metavar="N", help="nets of one number to average over (default: 10)"
    )
    return parser.parse_args(arguments)


def look_at(chosen, options, train_set, batch, note):
    """Measure every network at the start and at the end; the pictures are of the first seed."""
    tables, errors, pictures = {}, {}, {}
    norms = {words: {} for words in VARIANTS}
    for subject in chosen:
        key = subject.kind, subject.depth
        if subject.seed == options.seeds[0]:
            for words, change in VARIANTS.items():
                norms[words][subject.name] = gradient_flow(change(subject.net), *batch)
        for snapshot in subject.moments(train_set, options, [0, options.steps]):
            subject.net.train()
            when = "At the start" if snapshot.step == 0 else f"After {snapshot.step:,} steps"
            found = measure(subject.net, *batch)
            tables.setdefault(when, {}).setdefault(key, []).append(found)
            print(f"{subject.name}, seed {subject.seed}, step {snapshot.step}: " + words_for(found, snapshot.error))
            if snapshot.step:
                errors.setdefault(subject.name, []).append(snapshot.error)
            if subject.seed == options.seeds[0]:
                correlations, distances = pictures.setdefault(when, ({}, {}))
                correlations[subject.name] = DISTANCES, gradient_correlation(subject.net, batch[0][:16])
                distances[subject.name] = identity_distance(subject.net, batch[0])
    figures = {
        f"explanations-{when.lower().replace(' ', '-').replace(',', '')}": explanations_figure(
            norms, *seen, f"Upper row: at initialisation. Lower row: {when.lower()}. {note}"
        )
        for when, seen in pictures.items()
    }
    if errors:
        print("\nTraining error: " + ", ".join(f"{name} {np.mean(seeds):.1%}" for name, seeds in errors.items()))
    return {"tables": tables, "errors": errors, "figures": figures}


def words_for(found, error):
    words = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    return words + (f", training error {error:.1%}" if error == error else "")


def flat(results):
    return {
        when: {f"{kind}-{depth}": seeds for (kind, depth), seeds in numbers.items()}
        for when, numbers in results["tables"].items()
    }


def scalar_experiment(networks, seed):
    """The figure of nets of one number; prints the slopes of its right panel."""
    streams = np.random.default_rng(seed).spawn(networks)
    traces, correlations = {}, {}
    for name, (layers, residual, beta) in SCALAR_NETS.items():
        nets = (scalar_net(layers, residual, beta=beta, rng=stream) for stream in streams)
        slopes = [scalar_gradients(net, rng=stream)[0] for net, stream in zip(nets, streams)]
        traces[name], correlations[name] = slopes[0], np.mean([autocorrelation(g) for g in slopes], axis=0)
    for kind in ("brown", "white"):
        noises = [noise(kind, stream) for stream in streams]
        traces[f"{kind} noise"] = noises[0]
        correlations[f"{kind} noise"] = np.mean([autocorrelation(g) for g in noises], axis=0)
    by_depth, independent = {}, independent_points(rng=seed)
    for name, depths in SCALAR_DEPTHS.items():
        beta, points = 0.1 if "beta" in name else 1.0, independent if "independent" in name else POINTS
        found = correlation_by_depth(depths, "residual" in name, networks, beta=beta, points=points, rng=seed)
        by_depth[name] = depths, found
    print("\nNets of one number, correlation of slopes over all pairs of points:")
    for name, (depths, found) in by_depth.items():
        print(f"{name:22} " + ", ".join(f"L={depth}: {r:.3f}" for depth, r in zip(depths, found)))
    for words in ("", ", independent"):
        layer = fall(*by_depth[f"plain{words}"], by_layer=True)
        exponent = fall(*by_depth[f"residual{words}"])
        print(f"{f'plain{words}':22} falls as {layer:.2f}^L; the paper derives 0.50^L")
        print(f"{f'residual{words}':22} falls as L^{exponent:.2f}; the paper derives L^-0.50")
    note = (
        f"256 points from -2 to 2, 200 units a layer, seed {seed}. Upper row: slopes of one net each. Below: means "
        f"over {networks} nets. Dotted: what the paper derives for independent patterns of active units; independent: "
        "256 points of 64 normal numbers."
    )
    return shattered_figure(traces, correlations, by_depth, note)


def fall(depths, found, by_layer=False):
    """The factor a layer, or the exponent of L: a straight line through the logarithms of all that is above 0.01."""
    depths, found = np.asarray(depths, float), np.asarray(found)
    seen = found > 0.01
    slope = np.polyfit(depths[seen] if by_layer else np.log(depths[seen]), np.log(found[seen]), 1)[0]
    return np.exp(slope) if by_layer else slope


if __name__ == "__main__":
    sys.exit(main())
