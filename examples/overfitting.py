"""Can a net be too deep for its images? After the last experiment of He et al. 2015 with CIFAR-10.

ResNet-1202 fits the training images (error below 0.1 %), as ResNet-110 does, and tests worse: 7.93 against 6.43 %.
The paper takes this for overfitting: 19.4 M parameters are too many for 50,000 images. To train 1202 layers is days of
work here, but images can be taken away instead. So nets of growing depth are trained on a few images until they know
them by heart. Try it::

    python examples/overfitting.py                                        # synthetic images, some minutes
    python examples/overfitting.py --data cifar10 --train-images 1000
    python examples/overfitting.py --data cifar10 --augment               # random crops and flips, as in the paper

Every network is trained in a folder of its own. Ctrl-C at any time: the same command goes on.
"""

import sys

import numpy as np
from experiment import (
    errors_in_one_line,
    keep,
    load_data,
    output_folder,
    positive,
    setting,
    train_in_folder,
    training_parser,
)

from minires.lab.degradation import final_errors, percent
from minires.plots import overfitting_figure


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line(options.script):
        train_set, test_set = load_data(options)
        few, test_set = train_set[: options.train_images], test_set[: options.images]
        options.out = output_folder(options)
        how = "random crops and flips" if options.augment else "no augmentation"
        note = f"{len(few):,} training images of {setting(options, train_set, 'test')} {how.capitalize()}."
        print(f"{note}\n{HEAD}")
        logs, numbers = {}, []
        for net in options.nets:
            for depth in sorted(set(options.depths)):
                seeds = [
                    train_in_folder(net, depth, s, (few, test_set), options, augment=options.augment, tests=16)
                    for s in options.seeds
                ]
                name, parameters = f"{net}-{depth}", sum(p.data.size for p in seeds[0][0].parameters())
                logs[name] = [log for _, log in seeds]
                training, _, test = zip(*map(final_errors, logs[name]))
                losses = np.array([[line["loss"] for line in log if line["kind"] == "test"] for log in logs[name]])
                last, lowest = float(losses[:, -1].mean()), float(losses.mean(axis=0).min())
                row = f"{name:14}{parameters:>12,}{percent(training):>18}{percent(test):>18}"
                print(f"{row}{last:>11.2f}{lowest:>8.2f}")
                numbers.append({"net": name, "parameters": parameters, "training": training, "test": test})
                numbers[-1] |= {"test_loss": last, "lowest_test_loss": lowest}
        keep(options, train_set, {"overfitting": overfitting_figure(logs, note)}, numbers, note)


HEAD = f"{'network':14}{'parameters':>12}{'training error':>18}{'test error':>18}{'test loss':>11}{'lowest':>8}"


def read_options(arguments):
    parser = training_parser(
        "overfitting", "Train nets of growing depth on few images.", nets=["resnet"], depths=[20, 56, 110], steps=1000
    )
    parser.add_argument(
        "--train-images", type=positive, default=500, metavar="N", help="train on the first N (default: 500)"
    )
    parser.add_argument("--augment", action="store_true", help="train on random crops and mirror images of them")
    options = parser.parse_args(arguments)
    if options.augment:
        options.script += "-augmented"  # a folder of its own
    return options


if __name__ == "__main__":
    sys.exit(main())
