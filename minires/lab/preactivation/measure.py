"""What pre-activation gains at each depth."""

import numpy as np

# Test errors in % of He et al. 2016, Table 2.
PUBLISHED = {("resnet", 110): "6.61", ("preact", 110): "6.37"}


def verdict(numbers):
    """Say by how much pre-activation is ahead at each depth, in points of error.

    ``numbers`` are dicts of ``net, depth, training, test``; the last two are lists of an error per seed.
    """
    mean = {(row["net"], row["depth"]): [100 * np.mean(row[of]) for of in ("training", "test")] for row in numbers}
    said = []
    for depth in sorted({depth for _, depth in mean}):
        if ("resnet", depth) in mean and ("preact", depth) in mean:
            ahead = np.subtract(mean["resnet", depth], mean["preact", depth])
            points = f"{ahead[0]:+.1f} (training), {ahead[1]:+.1f} (test)"
            said.append(f"{depth} layers: pre-activation is ahead by {points}.")
    if said and any(len(row["test"]) == 1 for row in numbers):
        said.append("One seed: another one may move each by several points.")
    return "\n".join(said)
