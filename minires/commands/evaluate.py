"""Count the test images that a network gets wrong, with weights from a file or those that come with minires."""

from minires.commands.arguments import UsageError
from minires.commands.predict import weights_options, with_weights
from minires.lab.experiment import data_options, images_named, load_data, positive
from minires.train import evaluate


def add_options(parser):
    weights_options(parser)
    data_options(parser)
    parser.add_argument("--batch-size", type=positive, default=500, metavar="N", help="images at a time (default 500)")


def run(options):
    net, classes, _, prepare = with_weights(options, "evaluate")
    _, test_set = load_data(options)
    if classes != len(test_set.classes):
        there = f"{test_set.name} has {len(test_set.classes)}"
        raise UsageError(f"{options.net}: tells {classes} classes apart, and {there}. Choose with --data")
    error, loss = evaluate(net, test_set, options.batch_size, normalise=(prepare.shift, prepare.scale))
    of_what = f"{len(test_set):,} images of {images_named(test_set, options)}"
    print(f"{of_what}: error {error:.2%}, cross-entropy {loss:.4f}.")
    return 0
