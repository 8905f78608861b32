"""Is the identity hard to learn, and where does "fit what is left" come from?

Stacks of plain and of residual blocks are asked to hand their input on, and to change it a little. Then the residual
idea in its oldest form: fit a line, look at what is left, fit that; boosting does so with stumps, a residual net with
blocks. Needs no images::

    minires lab identity                       # some minutes
    minires lab identity --blocks 1 2 --steps 100
"""

from pathlib import Path

import numpy as np

from minires.lab.experiment import Experiment, Table, positive
from minires.lab.identity.measure import boosted_stumps, fit_stacks, residual_stages, straight_line, wave


def add_options(parser):
    add = parser.add_argument
    add("--blocks", nargs="+", type=positive, default=[1, 2, 4, 8], help="blocks in a stack (default: 1 2 4 8)")
    add("--steps", type=positive, default=300, help="(default: 300)")
    add("--perturbation", type=float, default=0.1, help="size of the change, against noise of size 1 (default: 0.1)")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="DIR", help="folder of figures and numbers (default: one under runs/)")


def run(options):
    from minires.lab.identity.figure import identity_figure, residuals_figure  # here: matplotlib takes a while to load

    lab, fits = Experiment(options), {}
    for name, size in (("x itself", 0.0), (f"x changed by {options.perturbation:g}", options.perturbation)):
        fits[name] = fit_stacks(options.blocks, size, steps=options.steps, rng=options.seed)
        print(f"\ntarget: {name}")
        table = Table("stack", *(f"{n} block{'s' * (n > 1)}" for n in options.blocks))
        for kind in dict.fromkeys(fit.kind for fit in fits[name]):
            table.row(kind, *(f"{fit.final:.2g}" for fit in fits[name] if fit.kind == kind))
    x, y = wave(rng=options.seed)
    line, boosted, staged = straight_line(x, y), boosted_stumps(x, y, 40), residual_stages(x, y, 8, rng=options.seed)
    for name, fit in (("a straight line", line), ("40 stumps", boosted[-1]), ("8 residual blocks", staged[-1])):
        print(f"{name}: mean square of what is left {np.mean((fit - y) ** 2):.4f}")
    of_stacks = (
        f"{options.steps} steps of 16 fresh images of rectified noise, 8 channels of 8x8; learning rate the best "
        f"of 0.03, 0.1, 0.3 for each point; perturbation {options.perturbation:g}; seed {options.seed}. "
        "Errors below 1e-6 are drawn at 1e-6."
    )
    of_fits = (
        f"80 points of a line, a wave and a step, noise 0.15; stumps shrunk by 0.3; seed {options.seed}. In the "
        "titles: mean square of what is left."
    )
    figures = {
        "identity": identity_figure(*fits.values(), of_stacks),
        "residuals": residuals_figure(x, y, line, boosted, staged, of_fits),
    }
    rows = [[name, fit.kind, fit.blocks, fit.lr, fit.final] for name, found in fits.items() for fit in found]
    lab.keep(figures, {"seed": options.seed, "steps": options.steps, "fits": rows}, of_stacks)
