"""Is the identity hard to learn, and where does "fit what is left" come from?

Stacks of plain and of residual blocks are asked to hand their input on, and to change it a little. Then the residual
idea in its oldest form: fit a line, look at what is left, fit that; boosting does so with stumps, a residual net with
blocks. Needs no images::

    minires lab identity                       # some minutes
    minires lab identity --blocks 1 2 --steps 100
    minires lab identity --kinds plain residual --steps 300 1000 3000
"""

from itertools import product
from pathlib import Path

import numpy as np

from minires.lab.experiment import Experiment, Table, each_once, positive, seeds_in_words
from minires.lab.identity.measure import (
    KINDS,
    LEAST,
    boosted_stumps,
    fit_stacks,
    residual_stages,
    straight_line,
    wave,
)


def add_options(parser):
    add = parser.add_argument
    add("--blocks", nargs="+", type=positive, default=[1, 2, 4, 8], help="blocks in a stack (default: 1 2 4 8)")
    add(
        "--kinds",
        nargs="+",
        choices=KINDS,
        default=list(KINDS),
        metavar="KIND",
        help=f"of {', '.join(map(repr, KINDS))}",
    )
    add("--steps", nargs="+", type=positive, default=[300, 1000], help="each trained anew (default: 300 1000)")
    add("--seeds", nargs="+", type=int, default=[0], metavar="SEED", help="(default: 0)")
    add(
        "--lrs", nargs="+", type=float, default=[0.03, 0.1, 0.3], help="the best of them counts (default: 0.03 0.1 0.3)"
    )
    add("--perturbation", type=float, default=0.1, help="size of the change of x (default: 0.1; 0: none)")
    add("--out", type=Path, metavar="DIR", help="folder of figures and numbers (default: one under runs/)")


def run(options):
    from minires.lab.identity.figure import identity_figure, residuals_figure  # here: matplotlib takes a while to load

    lab, fits = Experiment(options), {}
    options.steps, options.seeds = sorted(set(options.steps)), each_once(options.seeds)
    for size in each_once([0.0, options.perturbation]):
        name = f"x changed by {size:g}" if size else "x itself"
        fits[name] = {}
        print(f"\ntarget: {name}; median of {seeds_in_words(options.seeds)}")
        table = Table("stack", "steps", *(f"{n} block{'s' * (n > 1)}" for n in options.blocks))
        for kind, steps in product(each_once(options.kinds), options.steps):
            how = {"kinds": kind, "steps": steps, "lrs": options.lrs}
            found = [fit_stacks(options.blocks, size, **how, rng=seed) for seed in options.seeds]
            fits[name][kind, steps] = finals = np.array([[fit.final for fit in of_seed] for of_seed in found])
            table.row(kind, f"{steps:,}", *(f"{final:.2g}" for final in np.median(finals, axis=0)))
    first = options.seeds[0]
    x, y = wave(rng=first)
    line, boosted, staged = straight_line(x, y), boosted_stumps(x, y, 40), residual_stages(x, y, 8, rng=first)
    for name, fit in (("a straight line", line), ("40 stumps", boosted[-1]), ("8 residual blocks", staged[-1])):
        print(f"{name}: mean square of what is left {np.mean((fit - y) ** 2):.4f}")
    of_stacks = (
        "Each point: a stack trained anew for so many steps of 16 fresh images of rectified noise, 8 channels of 8x8; "
        f"learning rate the best of {', '.join(map(str, options.lrs))}, warm-up over 1/10, then a cosine to 0; "
        f"perturbation {options.perturbation:g}; {seeds_in_words(options.seeds)} (dots; line: their "
        f"median). Below {LEAST:g}: drawn there."
    )
    of_fits = (
        f"80 points of a line, a wave and a step, noise 0.15; stumps shrunk by 0.3; seed {first}. In the "
        "titles: mean square of what is left."
    )
    figures = {
        "identity": identity_figure(fits, options.blocks, of_stacks),
        "residuals": residuals_figure(x, y, line, boosted, staged, of_fits),
    }
    rows = [[name, *key, finals.tolist()] for name, found in fits.items() for key, finals in found.items()]
    lab.keep(figures, {"seeds": options.seeds, "blocks": options.blocks, "fits": rows}, of_stacks)
