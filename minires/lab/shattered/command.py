"""Do gradients of deep nets become white noise, and do shortcuts prevent it? After Balduzzi et al. 2017.

The slope df/dx of random nets from one number to one number, at 256 neighbouring points: how fast it changes from point
to point, beside brown and white noise, and how fast its correlation falls with the number of layers. Nothing is trained
and no images are needed::

    minires lab shattered                    # a minute
    minires lab shattered --networks 60
"""

from pathlib import Path

import numpy as np

from minires.lab.experiment import Experiment, positive
from minires.lab.shattered.measure import (
    POINTS,
    autocorrelation,
    correlation_by_depth,
    fall,
    independent_points,
    noise,
    scalar_gradients,
    scalar_net,
)

NETS = {  # layers, residual, beta
    "1 layer": (1, False, 1.0),
    "24 layers": (24, False, 1.0),
    "50 layers, residual": (50, True, 1.0),
    "50, residual, beta 0.1": (50, True, 0.1),
}
DEPTHS = {"plain": [1, 2, 3, 4, 5, 6, 8], "residual": [1, 2, 4, 8, 16, 32], "residual, beta 0.1": [1, 4, 16, 50]}
DEPTHS |= {f"{kind}, independent": DEPTHS[kind] for kind in ("plain", "residual")}


def add_options(parser):
    add = parser.add_argument
    add("--networks", type=positive, default=10, metavar="N", help="nets of one number to average over (default: 10)")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="DIR", help="folder of figures and numbers (default: one under runs/)")


def run(options):
    from minires.lab.shattered.figure import shattered_figure  # here: matplotlib takes a while to load

    lab, networks = Experiment(options), options.networks
    streams = np.random.default_rng(options.seed).spawn(networks)
    traces, correlations = {}, {}
    for name, (layers, residual, beta) in NETS.items():
        nets = (scalar_net(layers, residual, beta=beta, rng=stream) for stream in streams)
        slopes = [scalar_gradients(net, rng=stream)[0] for net, stream in zip(nets, streams)]
        traces[name], correlations[name] = slopes[0], np.mean([autocorrelation(g) for g in slopes], axis=0)
    for kind in ("brown", "white"):
        noises = [noise(kind, stream) for stream in streams]
        traces[f"{kind} noise"] = noises[0]
        correlations[f"{kind} noise"] = np.mean([autocorrelation(g) for g in noises], axis=0)
    by_depth, independent = {}, independent_points(rng=options.seed)
    for name, depths in DEPTHS.items():
        beta, points = 0.1 if "beta" in name else 1.0, independent if "independent" in name else POINTS
        found = correlation_by_depth(depths, "residual" in name, networks, beta=beta, points=points, rng=options.seed)
        by_depth[name] = depths, found
    print("Nets of one number, correlation of slopes over all pairs of points:")
    for name, (depths, found) in by_depth.items():
        print(f"{name:22} " + ", ".join(f"L={depth}: {r:.3f}" for depth, r in zip(depths, found)))
    for words in ("", ", independent"):
        layer = fall(*by_depth[f"plain{words}"], by_layer=True)
        exponent = fall(*by_depth[f"residual{words}"])
        print(f"{f'plain{words}':22} falls as {layer:.2f}^L; the paper derives 0.50^L")
        print(f"{f'residual{words}':22} falls as L^{exponent:.2f}; the paper derives L^-0.50")
    note = (
        f"256 points from -2 to 2, 200 units per layer, seed {options.seed}. Upper row: slopes of one net each. Below: "
        f"means over {networks} nets. Dotted: what the paper derives for independent patterns of active units; "
        "independent: 256 points of 64 normal numbers."
    )
    numbers = {
        "autocorrelation": {name: found.tolist() for name, found in correlations.items()},
        "by depth": {name: [depths, found.tolist()] for name, (depths, found) in by_depth.items()},
    }
    lab.keep({"shattered-gradients": shattered_figure(traces, correlations, by_depth, note)}, numbers, note)
