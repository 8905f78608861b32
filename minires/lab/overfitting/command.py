"""After the last experiment of He et al. 2015 with CIFAR-10, where 1202 layers fit the training images as well as 110
do, and test worse. That is days of work here, but images can be taken away instead: nets of growing depth are trained
on a few images until they know them by heart::

    minires lab overfitting                                        # synthetic images, some minutes
    minires lab overfitting --data cifar10 --train-images 1000
    minires lab overfitting --data cifar10 --augment               # random crops and flips, as in the paper
"""

import numpy as np

from minires.lab.degradation.measure import percent
from minires.lab.experiment import Table, positive, training_options
from minires.lab.overfitting.figure import overfitting_figure


def add_options(parser):
    training_options(parser, nets=["resnet"], depths=[20, 56, 110], steps=1000)
    add = parser.add_argument
    add("--train-images", type=positive, default=500, metavar="N", help="train on the first N (default: 500)")
    add("--augment", action="store_true", help="train on random crops and mirror images of them")


def run(lab):
    options = lab.options
    lab.check_networks()
    few, test_set = lab.train_set[: options.train_images], lab.test_set[: options.images]
    how = "Random crops and flips" if options.augment else "No augmentation"
    lab.say(f"{len(few):,} training images of {lab.setting('test')} {how}.")
    table = Table("network", "parameters:,", "training error", "test error", "test loss:.2f", "lowest:.2f", first=14)
    logs, numbers, data = {}, [], (few, test_set)
    for kind in options.nets:
        for depth in sorted(options.depths):
            net, log, training, test = lab.train_seeds(kind, depth, data, augment=options.augment, tests=16)
            name, parameters = f"{kind}-{depth}", sum(p.data.size for p in net.parameters())
            losses = np.array([[line["loss"] for line in one if line["kind"] == "test"] for one in log])
            last, lowest = float(losses[:, -1].mean()), float(losses.mean(axis=0).min())
            table.row(name, parameters, percent(training), percent(test), last, lowest)
            found = {"net": name, "parameters": parameters, "training": training, "test": test}
            logs[name], numbers = log, [*numbers, found | {"test_loss": last, "lowest_test_loss": lowest}]
    return {"overfitting": overfitting_figure(logs)}, numbers
