"""Train a network on images, in a folder that keeps its log and checkpoints."""

import re

import numpy as np

from minires.commands.arguments import UsageError, net_of
from minires.lab.degradation.measure import final_errors
from minires.lab.experiment import for_images, whole, writable
from minires.lab.recipe import fill_in, recipe_options, setting, train_by_recipe, training_and_test_set
from minires.train import Diverged


def add_options(parser):
    add = parser.add_argument
    add("net", metavar="NET", help="a name such as resnet-20, or FILE.py:NAME, a function that returns a Layer")
    add("--args", default="", metavar="ARGS", help='arguments of NAME, such as "10, width=16"')
    add("--seed", type=whole, default=0, metavar="SEED", help="of the first weights and of the order of the images")
    recipe_options(parser)


def run(options):
    from minires.figures import plot_log  # loads Matplotlib, which other commands do without

    options.seeds = [options.seed]
    data = training_and_test_set(options)
    chosen = options.out
    fill_in(options, len(data[0]))
    net_rng, data_rng = np.random.default_rng(options.seed).spawn(2)  # as in examples/degradation_cifar.py
    classes = {} if ".py" in options.net else for_images(data[0]) | {"rng": net_rng}
    net = net_of(options.net, options.args, "train", **classes)
    known = re.fullmatch(r"([a-z]\w*)-(\d+)", options.net)
    config = {"net": options.net, "depth": None, "seed": options.seed}
    config |= {"net": known[1], "depth": int(known[2])} if known else {"args": options.args}
    name = re.sub(r"[^\w-]+", "-", f"{options.net} {options.args}").strip("-")
    folder = writable(chosen or options.out / f"{name}-seed{options.seed}")
    print(f"{setting(data, options)}.\nFolder: {folder}. After Ctrl-C, the same command goes on.")
    try:
        log = train_by_recipe(net, folder, config, data, options, data_rng)
    except Diverged as error:
        raise UsageError(str(error)) from None
    train_error, _, test_error = final_errors(log)
    plot_log(log, setting(data, options)).savefig(folder / "log.png")
    print(f"{options.net}: training error {train_error:.1%}, test error {test_error:.1%}. Curves: {folder / 'log.png'}")
    return 0
