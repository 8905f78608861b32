"""How strongly does each layer respond? After Fig. 7 of He et al. 2015.

The standard deviation of every 3x3 layer's output after its batch norm, before ReLU or addition. The paper found
smaller responses in residual nets than in plain ones, and in deeper residual nets than in shallower ones: a layer of a
deep residual net changes its signal less. At initialisation all are 1, so networks must have trained. Try it::

    python examples/layer_responses.py                                       # synthetic images, a few minutes
    python examples/layer_responses.py --data cifar10 --depths 20 56 110
    python examples/layer_responses.py --runs runs/cifar10-30m               # trained by degradation_cifar.py
"""

import sys

import numpy as np
from experiment import errors_in_one_line, keep, lab_parser, load_data, setting, subjects

from minires.data import batches
from minires.lab.responses import layer_responses
from minires.plots import responses_figure


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line(options.script):
        train_set, test_set = load_data(options)
        x, _ = next(batches(test_set, options.images))
        found = subjects(options, train_set)
        if options.seeds[1:]:
            raise ValueError(f"expected one seed, got {options.seeds}. Choose with --seeds.")
        responses, numbers = {}, []
        note = setting(options, train_set, "test")
        print(f"{note}\n{'network':12}{'step':>6}{'error':>8}{'mean std':>10}{'least':>8}{'most':>10}")
        for subject in found:
            *_, end = subject.moments(train_set, options, [0, options.steps])
            rows = responses[subject.kind, subject.depth] = layer_responses(subject.net.train(), x)
            stds = [row.std for row in rows]
            print(
                f"{subject.name:12}{end.step:6}{end.error:8.1%}{np.mean(stds):10.3f}{min(stds):8.3f}{max(stds):10.3f}"
            )
            numbers.append({"net": subject.name, "seed": subject.seed, **end._asdict(), "responses": stds})
        means = {key: np.mean([row.std for row in rows]) for key, rows in responses.items()}
        print("\n" + "\n".join(findings(means)))
        keep(options, train_set, {"layer-responses": responses_figure(responses, note)}, numbers)


def read_options(arguments):
    parser = lab_parser(
        "layer-responses", "Measure layer responses.", nets=["plain", "resnet"], depths=[20, 56], steps=300
    )
    parser.set_defaults(images=256)
    return parser.parse_args(arguments)


def findings(means):
    """The paper's two statements, held against the mean responses, {("plain", 20): ...}."""
    said = []
    for depth in sorted({depth for _, depth in means}):
        if ("plain", depth) in means and ("resnet", depth) in means:
            plain, resnet = means["plain", depth], means["resnet", depth]
            said.append(
                f"resnet-{depth} responds {'less' if resnet < plain else 'not less'} than plain-{depth}: "
                f"{resnet:.3f} against {plain:.3f}."
            )
    depths = sorted(depth for net, depth in means if net == "resnet")
    if len(depths) > 1:
        in_order = [means["resnet", depth] for depth in depths]
        falls = all(a > b for a, b in zip(in_order, in_order[1:]))
        said.append(
            f"Deeper residual nets respond {'less' if falls else 'not less'} than shallower ones: "
            + ", ".join(f"{depth} layers {mean:.3f}" for depth, mean in zip(depths, in_order))
            + "."
        )
    return said


if __name__ == "__main__":
    sys.exit(main())
