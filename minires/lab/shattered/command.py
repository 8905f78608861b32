"""After Balduzzi et al. 2017. The slope df/dx of random nets from one number to one number: how fast it changes from
point to point, beside brown and white noise, and how fast its correlation falls with the number of layers. Needs no
images::

    minires lab shattered                    # a minute
    minires lab shattered --networks 60
"""

import numpy as np

from minires.lab.experiment import positive, whole
from minires.lab.shattered import measure
from minires.lab.shattered.figure import shattered_figure

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
    add("--seed", type=whole, default=0)


def run(lab):
    networks, seed = lab.options.networks, lab.options.seed
    streams = np.random.default_rng(seed).spawn(networks)
    slopes = {}
    for name, (layers, residual, beta) in NETS.items():
        nets = (measure.scalar_net(layers, residual, beta=beta, rng=stream) for stream in streams)
        slopes[name] = [measure.scalar_gradients(net, rng=stream)[0] for net, stream in zip(nets, streams)]
    slopes |= {f"{kind} noise": [measure.noise(kind, stream) for stream in streams] for kind in ("brown", "white")}
    lags = {name: np.array([measure.autocorrelation(g) for g in each]) for name, each in slopes.items()}
    print(f"Autocorrelation at lag 1, mean of {networks} nets and its standard error:")
    for name, of in lags.items():
        print(f"{name:22} {of[:, 1].mean():.2f} +- {of[:, 1].std() / networks**0.5:.2f}")
    correlations = {name: of.mean(axis=0) for name, of in lags.items()}
    by_depth, independent = {}, measure.independent_points(rng=seed)
    for name, depths in DEPTHS.items():
        beta, points = 0.1 if "beta" in name else 1.0, independent if "independent" in name else measure.POINTS
        found = measure.correlation_by_depth(depths, "residual" in name, networks, beta=beta, points=points, rng=seed)
        by_depth[name] = depths, found
    print("Nets of one number, correlation of slopes over all pairs of points:")
    for name, (depths, found) in by_depth.items():
        print(f"{name:22} " + ", ".join(f"L={depth}: {r:.3f}" for depth, r in zip(depths, found)))
    for words in ("", ", independent"):
        layer = measure.fall(*by_depth[f"plain{words}"], by_layer=True)
        exponent = measure.fall(*by_depth[f"residual{words}"])
        print(f"{f'plain{words}':22} falls as {layer:.2f}^L; the paper derives 0.50^L")
        print(f"{f'residual{words}':22} falls as L^{exponent:.2f}; the paper derives L^-0.50")
    lab.note = (
        f"256 points from -2 to 2, 200 units per layer, seed {seed}. Upper row: slopes of one net each. Below: "
        f"means over {networks} nets. Dotted: what the paper derives for independent patterns of active units; "
        "independent: 256 points of 64 normal numbers."
    )
    numbers = {
        "autocorrelation": {name: found.tolist() for name, found in correlations.items()},
        "by depth": {name: [depths, found.tolist()] for name, (depths, found) in by_depth.items()},
    }
    traces = {name: each[0] for name, each in slopes.items()}
    return {"shattered-gradients": shattered_figure(traces, correlations, by_depth)}, numbers
