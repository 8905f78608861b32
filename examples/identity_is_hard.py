"""Is the identity hard to learn, and where does "fit what is left" come from?

Stacks of plain and of residual blocks are asked to hand their input on, and to change it a little. Then the residual
idea in its oldest form: fit a line, look at what is left, fit that; boosting does so with stumps, a residual net with
blocks. Needs no images::

    python examples/identity_is_hard.py                       # some minutes
    python examples/identity_is_hard.py --blocks 1 2 --steps 100
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from experiment import errors_in_one_line, positive

from minires.lab.identity import boosted_stumps, fit_stacks, residual_stages, straight_line, wave
from minires.machine import machine
from minires.plots import identity_figure, residuals_figure


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line("identity-is-hard"):
        fits = {}
        for name, size in (("x itself", 0.0), (f"x changed by {options.perturbation:g}", options.perturbation)):
            fits[name] = fit_stacks(options.blocks, size, steps=options.steps, rng=options.seed)
            print(f"\ntarget: {name}\n{'stack':24}" + "".join(f"{f'{n} blocks':>12}" for n in options.blocks))
            for kind in dict.fromkeys(fit.kind for fit in fits[name]):
                cells = [f"{fit.final:.2g}" for fit in fits[name] if fit.kind == kind]
                print(f"{kind:24}" + "".join(f"{cell:>12}" for cell in cells))
        x, y = wave(rng=options.seed)
        line, boosted, staged = (
            straight_line(x, y),
            boosted_stumps(x, y, 40),
            residual_stages(x, y, 8, rng=options.seed),
        )
        for name, fit in (("a straight line", line), ("40 stumps", boosted[-1]), ("8 residual blocks", staged[-1])):
            print(f"{name}: mean square of what is left {np.mean((fit - y) ** 2):.4f}")
        note = (
            f"{options.steps} steps of 16 fresh images of rectified noise, 8 channels of 8x8; learning rate the best "
            f"of 0.03, 0.1, 0.3 for each point; perturbation {options.perturbation:g}; seed {options.seed}. "
            "Errors below 1e-6 are drawn at 1e-6."
        )
        options.out.mkdir(parents=True, exist_ok=True)
        identity_figure(*fits.values(), note).savefig(options.out / "identity.png")
        note = (
            f"80 points of a line, a wave and a step, noise 0.15; stumps shrunk by 0.3; seed {options.seed}. In the "
            "titles: mean square of what is left."
        )
        residuals_figure(x, y, line, boosted, staged, note).savefig(options.out / "residuals.png")
        rows = [[name, fit.kind, fit.blocks, fit.lr, fit.final] for name, found in fits.items() for fit in found]
        about = {"machine": machine(), "seed": options.seed, "steps": options.steps, "fits": rows}
        (options.out / "numbers.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        print(f"\nFigures and numbers: {options.out}")


def read_options(arguments):
    parser = argparse.ArgumentParser(description="Fit the identity, and fit what is left.")
    add = parser.add_argument
    add("--blocks", nargs="+", type=positive, default=[1, 2, 4, 8], help="blocks in a stack (default: 1 2 4 8)")
    add("--steps", type=positive, default=300, help="(default: 300)")
    add("--perturbation", type=float, default=0.1, help="size of the change, against noise of size 1 (default: 0.1)")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("runs", "identity-is-hard"), metavar="DIR")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
