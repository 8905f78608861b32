"""After Fig. 7 of He et al. 2015: the standard deviation of every 3x3 layer's output after its batch norm, before ReLU
or addition. At initialisation all are 1, so networks must have trained::

    minires lab responses                                       # synthetic images, a few minutes
    minires lab responses --data cifar10 --depths 20 56 110
    minires lab responses --runs runs/cifar10-30m               # trained by degradation_cifar.py
"""

import numpy as np

from minires.data import batches
from minires.lab.experiment import Table, lab_options
from minires.lab.responses.figure import responses_figure
from minires.lab.responses.measure import decay_alone, findings, layer_responses
from minires.optim import warm_up_then_cosine


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[20, 56], steps=300)
    parser.set_defaults(images=256)


def run(lab):
    options, subjects = lab.options, lab.subjects(one_seed=True)
    x, _ = next(batches(lab.test_set, options.images))
    lab.say(lab.setting("test"))
    table = Table("network", "step", "error:.1%", "mean std:.3f", "least:.3f", "most:.3f", first=14)
    responses, numbers = {}, []
    for subject in subjects:
        end = subject.trained(lab)
        rows = responses[subject.kind, subject.depth] = layer_responses(subject.net.train(), x)
        stds = [row.std for row in rows]
        table.row(subject.name, end.step, end.error, np.mean(stds), min(stds), max(stds))
        numbers.append(subject.about(end, responses=stds))
    print("\n" + "\n".join(findings({key: np.mean([row.std for row in rows]) for key, rows in responses.items()})))
    floor = None
    if options.steps and all(subject.fresh for subject in subjects):  # their learning rates are known
        schedule = warm_up_then_cosine(options.lr, options.steps)
        floor = decay_alone([schedule.lr(step) for step in range(options.steps)])
        near = np.mean([abs(std - floor) < 0.01 * floor for row in numbers for std in row["responses"]])
        print(f"Weight decay alone makes {floor:.3f} of a gain of 1; {near:.0%} of the responses are within 1% of it.")
    return {"layer-responses": responses_figure(responses, floor)}, numbers
