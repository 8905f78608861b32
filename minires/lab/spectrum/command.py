"""All 2^n paths of the gradient are followed, none is sampled; at the start and three times on the way::

minires lab spectrum                                     # synthetic images, 20 layers, some minutes
minires lab spectrum --data cifar10 --seeds 0 1 2
minires lab spectrum --runs runs/cifar10-30m --nets resnet --depths 20    # trained by degradation_cifar.py
"""

import numpy as np

from minires.lab.experiment import Table, lab_options
from minires.lab.paths.measure import residual_blocks
from minires.lab.spectrum.figure import spectrum_figure
from minires.lab.spectrum.measure import MOST, spectrum


def add_options(parser):
    lab_options(parser, nets=["resnet"], depths=[20], steps=320, several_seeds=True, images=8)


def run(lab):
    batch, subjects = lab.batch(), lab.subjects()
    for subject in subjects:
        if len(residual_blocks(subject.net, subject.name)) > MOST:
            raise ValueError(f"{subject.name}: expected at most {MOST} blocks; all their paths are followed.")
    lab.say(f"{lab.setting()} Batch norm with the statistics of those images.")
    table = Table("network", "seed", "step", "error:.1%", "mean length:.2f", "coherence:.3f", "largest at")
    found, numbers, steps = {}, [], lab.options.steps
    for subject in subjects:
        for moment in subject.moments(lab, [0, steps // 16, steps // 4, steps]):
            one = spectrum(subject.net.train(), *batch)
            found.setdefault(subject.name, {}).setdefault(moment.step, []).append(one)
            whole = one.together.sum() / one.apart.sum()
            largest = int(np.argmax(one.together))
            table.row(subject.name, subject.seed, moment.step, moment.error, one.mean_length, whole, largest)
            kept = {"together": one.together.tolist(), "apart": one.apart.tolist(), "mean_length": one.mean_length}
            numbers.append(subject.about(moment, **kept))
    return {f"spectrum-{name}": spectrum_figure(moments) for name, moments in found.items()}, numbers
