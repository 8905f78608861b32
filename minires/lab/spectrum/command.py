"""How do the weights of short and long paths change as a net trains?

All 2^n paths of the gradient are followed, none is sampled; at the start and three times on the way::

    minires lab spectrum                                     # synthetic images, 20 layers, some minutes
    minires lab spectrum --data cifar10 --seeds 0 1 2
    minires lab spectrum --runs runs/cifar10-30m --nets resnet --depths 20    # trained by degradation_cifar.py
"""

import numpy as np

from minires.lab.experiment import Experiment, Table, lab_options, number
from minires.lab.paths.measure import residual_blocks
from minires.lab.spectrum.measure import MOST, spectrum


def add_options(parser):
    lab_options(parser, nets=["resnet"], depths=[20], steps=320, several_seeds=True)
    parser.set_defaults(images=8)


def run(options):
    from minires.lab.spectrum.figure import spectrum_figure  # here: matplotlib takes a while to load

    lab = Experiment(options)
    batch, subjects = lab.batch(), lab.subjects()
    for subject in subjects:
        if len(residual_blocks(subject.net, subject.name)) > MOST:
            raise ValueError(f"{subject.name}: expected at most {MOST} blocks; all their paths are followed.")
    note = f"{lab.setting()} Batch norm with the statistics of those images."
    print(note)
    table = Table("network", "seed", "step", "error", "mean length", "coherence", "largest at")
    found, numbers, steps = {}, [], options.steps
    for subject in subjects:
        for moment in subject.moments(lab, [0, steps // 16, steps // 4, steps]):
            one = spectrum(subject.net.train(), *batch)
            found.setdefault(subject.name, {}).setdefault(moment.step, []).append(one)
            whole = one.together.sum() / one.apart.sum()
            cells = f"{one.mean_length:.2f}", f"{whole:.3f}", int(np.argmax(one.together))
            table.row(subject.name, subject.seed, moment.step, number(moment.error, ".1%"), *cells)
            numbers.append({"net": subject.name, "seed": subject.seed, **moment._asdict()})
            numbers[-1] |= {
                "together": one.together.tolist(),
                "apart": one.apart.tolist(),
                "mean_length": one.mean_length,
            }
    figures = {f"spectrum-{name}": spectrum_figure(moments, note) for name, moments in found.items()}
    lab.keep(figures, numbers, note)
