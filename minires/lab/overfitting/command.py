"""Can a net be too deep for its images? After the last experiment of He et al. 2015 with CIFAR-10.

ResNet-1202 fits the training images (error below 0.1 %), as ResNet-110 does, and tests worse: 7.93 against 6.43 %.
The paper takes this for overfitting: 19.4 M parameters are too many for 50,000 images. (A re-run by others has 6.18 %
for 1202 layers and 6.32 for 110: not everybody finds it.) To train 1202 layers is days of work here, but images can be
taken away instead. So nets of growing depth are trained on a few images until they know them by heart. Try it::

    minires lab overfitting                                        # synthetic images, some minutes
    minires lab overfitting --data cifar10 --train-images 1000
    minires lab overfitting --data cifar10 --augment               # random crops and flips, as in the paper

Every network is trained in a folder of its own. Ctrl-C at any time: the same command goes on.
"""

import numpy as np

from minires.lab.degradation.measure import final_errors, percent
from minires.lab.experiment import Experiment, Table, positive, training_options


def add_options(parser):
    training_options(parser, nets=["resnet"], depths=[20, 56, 110], steps=1000)
    add = parser.add_argument
    add("--train-images", type=positive, default=500, metavar="N", help="train on the first N (default: 500)")
    add("--augment", action="store_true", help="train on random crops and mirror images of them")


def run(options):
    from minires.lab.overfitting.figure import overfitting_figure  # here: matplotlib takes a while to load

    lab = Experiment(options)
    lab.check_networks()
    few, test_set = lab.train_set[: options.train_images], lab.test_set[: options.images]
    how = "Random crops and flips" if options.augment else "No augmentation"
    note = f"{len(few):,} training images of {lab.setting('test')} {how}."
    print(note)
    table = Table("network", "parameters", "training error", "test error", "test loss", "lowest", first=14)
    logs, numbers = {}, []
    for net in options.nets:
        for depth in sorted(set(options.depths)):
            seeds = [
                lab.train(net, depth, seed, (few, test_set), augment=options.augment, tests=16)
                for seed in options.seeds
            ]
            name, parameters = f"{net}-{depth}", sum(p.data.size for p in seeds[0][0].parameters())
            logs[name] = [log for _, log in seeds]
            training, _, test = zip(*map(final_errors, logs[name]))
            losses = np.array([[line["loss"] for line in log if line["kind"] == "test"] for log in logs[name]])
            last, lowest = float(losses[:, -1].mean()), float(losses.mean(axis=0).min())
            table.row(name, f"{parameters:,}", percent(training), percent(test), f"{last:.2f}", f"{lowest:.2f}")
            numbers.append({"net": name, "parameters": parameters, "training": training, "test": test})
            numbers[-1] |= {"test_loss": last, "lowest_test_loss": lowest}
    lab.keep({"overfitting": overfitting_figure(logs, note)}, numbers, note)
