"""Stacks of plain and of residual blocks are asked to hand their input on, and to change it a little. Then: fit a
line, look at what is left, fit that; boosting does so with stumps, a residual net with blocks. Needs no images::

    minires lab identity                       # some minutes
    minires lab identity --kinds plain residual --steps 300 1000 3000 --seeds 0 1 2
"""

from itertools import product

import numpy as np

from minires.figures import noted
from minires.lab.experiment import Table, count, each_once, positive, seeds_in_words, several
from minires.lab.identity import measure
from minires.lab.identity.figure import identity_figure, residuals_figure


def add_options(parser):
    several(parser, "--blocks", positive, [1, 2, 4, 8], "blocks in a stack")
    several(parser, "--kinds", str, list(measure.KINDS), "of stacks", choices=measure.KINDS, metavar="KIND")
    several(parser, "--steps", positive, [300, 1000], "each trained anew")
    several(parser, "--seeds", int, [0], metavar="SEED")
    several(parser, "--lrs", float, [0.03, 0.1, 0.3], "the best of them counts")
    change = "size of the change of x (default: 0.1; 0: none)"
    parser.add_argument("--perturbation", type=float, default=0.1, help=change)


def run(lab):
    options, fits = lab.options, {}
    options.steps = sorted(options.steps)
    for size in each_once([0.0, options.perturbation]):
        name = f"x changed by {size:g}" if size else "x itself"
        fits[name] = {}
        print(f"\ntarget: {name}; median of {seeds_in_words(options.seeds)}")
        table = Table("stack", "steps:,", *(f"{count(n, 'block')}:.2g" for n in options.blocks))
        for kind, steps in product(options.kinds, options.steps):
            how = {"kinds": kind, "steps": steps, "lrs": options.lrs}
            found = [measure.fit_stacks(options.blocks, size, **how, rng=seed) for seed in options.seeds]
            fits[name][kind, steps] = finals = np.array([[fit.final for fit in of_seed] for of_seed in found])
            table.row(kind, steps, *np.median(finals, axis=0))
    lab.note = (
        "Each point: a stack trained anew for so many steps of 16 fresh images of rectified noise, 8 channels of 8x8; "
        f"learning rate the best of {', '.join(map(str, options.lrs))}, warm-up over 1/10, then a cosine to 0; "
        f"perturbation {options.perturbation:g}; {seeds_in_words(options.seeds)} (dots; line: their "
        f"median). Below {measure.LEAST:g}: drawn there."
    )
    figures = {"identity": identity_figure(fits, options.blocks), "residuals": fit_what_is_left(options.seeds[0])}
    rows = [[name, *key, finals.tolist()] for name, found in fits.items() for key, finals in found.items()]
    return figures, {"seeds": options.seeds, "blocks": options.blocks, "fits": rows}


def fit_what_is_left(seed):
    """Fit a wave by a line, by stumps and by residual blocks, say what each leaves, and return the figure."""
    x, y = measure.wave(rng=seed)
    line, boosted = measure.straight_line(x, y), measure.boosted_stumps(x, y, 40)
    staged = measure.residual_stages(x, y, 8, rng=seed)
    for name, fit in (("a straight line", line), ("40 stumps", boosted[-1]), ("8 residual blocks", staged[-1])):
        print(f"{name}: mean square of what is left {np.mean((fit - y) ** 2):.4f}")
    note = (
        f"80 points of a line, a wave and a step, noise 0.15; stumps shrunk by 0.3; seed {seed}. In the "
        "titles: mean square of what is left."
    )
    return noted(residuals_figure(x, y, line, boosted, staged), note)
