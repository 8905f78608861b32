"""After Fig. 7 of He et al. 2015: the standard deviation of every 3x3 layer's output after its batch norm, before ReLU
or addition. At initialisation all are 1, so networks must have trained::

    minires lab responses                                       # synthetic images, a few minutes
    minires lab responses --data cifar10 --depths 20 56 110
    minires lab responses --pretrained --data cifar10           # the trained nets that come with minires
    minires lab responses --runs runs/cifar10-30m               # trained by degradation_cifar.py
"""

from argparse import Namespace

import numpy as np

from minires.data import batches
from minires.lab.experiment import Table, lab_options
from minires.lab.recipe import schedule_for
from minires.lab.responses.figure import responses_figure
from minires.lab.responses.measure import decay_alone, findings, layer_responses
from minires.optim import warm_up_then_cosine


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[20, 56], steps=300, images=256)


def run(lab):
    options, subjects = lab.options, lab.subjects(one_seed=True)
    x, _ = next(batches(lab.test_set, options.images))
    lab.say(lab.setting("test"))
    columns = "error:.1%", "mean std:.3f", "least:.3f", "most:.3f", "decay alone:.3f", "within 1%:.0%"
    table = Table("network", "step", *columns, first=14)
    responses, floors, numbers = {}, {}, []
    for subject in subjects:
        for moment in subject.moments(lab, [options.steps]):
            if subject.fresh or moment.step:  # before the first step every response is 1
                rows = responses[subject.kind, subject.depth] = layer_responses(subject.net.train(), x)
                stds, floor = np.array([row.std for row in rows]), decay_alone(rates(subject, options)[: moment.step])
                near = np.mean(abs(stds - floor) < 0.01 * floor)
                found = moment.step, moment.error, stds.mean(), stds.min(), stds.max(), floor, near
                table.row(subject.name, *found)
                numbers.append(subject.about(moment, responses=stds.tolist(), decay_alone=floor))
        floors[f"weight decay alone, {moment.step:,} steps"] = floor
    print("\n" + "\n".join(findings({key: np.mean([row.std for row in rows]) for key, rows in responses.items()})))
    return {"layer-responses": responses_figure(responses, floors)}, numbers


def rates(subject, options):
    """The learning rate of every step of a net, as far as it was to be trained."""
    config = subject.config
    if not config:
        schedule, steps = warm_up_then_cosine(options.lr, options.steps or 1), options.steps
    else:  # without the warm-up of the deepest nets, which lasts as long as they need
        schedule, steps = schedule_for(min(subject.depth, 109), Namespace(**config)), config["steps"]
    return [schedule.lr(step) for step in range(steps)]
