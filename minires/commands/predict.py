"""Say what is in an image, with weights from a file or those that come with minires."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from minires.checkpoint import CheckpointError, load_inputs
from minires.commands.arguments import UsageError, net_of
from minires.data.classes import class_names
from minires.data.images import PREPROCESSING, Preprocessing, preprocessing
from minires.lab.experiment import positive
from minires.pretrained import weights_file
from minires.weights import classes_of, load_weights, read_weights


def add_options(parser):
    add = parser.add_argument
    weights_options(parser)
    add("images", metavar="IMAGE", nargs="+", help="PNG, JPEG, ... of any size")
    add("--classes", metavar="FILE", help="names of the classes, one per line (default: by their number)")
    add("--top", type=positive, default=5, metavar="N", help="how many classes to show (default 5)")


def weights_options(parser):
    """Add the options of a net that ``with_weights`` makes."""
    add = parser.add_argument
    add("net", metavar="NET", help="resnet-20, resnet18, ..., or FILE.py:NAME, a function or class that builds it")
    weights = ".npz, .safetensors, or a run's checkpoint.npz (default: those that come with minires, for some names)"
    add("--weights", metavar="FILE", help=weights)
    add("--args", default="", help="arguments of the function or class")
    add(
        "--preprocess",
        choices=list(PREPROCESSING),
        help="whose mean and standard deviation (default: those kept in a checkpoint, else going by the names in FILE)",
    )


def run(options):
    net, classes, inputs, prepare = with_weights(options, "predict")
    names = _class_names(options, inputs, classes)
    for path in options.images:
        logits = _logits(net, prepare(path), classes, path, options)
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        print(f"\n{path}")
        for label in np.argsort(-probabilities, kind="stable")[: options.top]:
            print(f"{probabilities[label]:8.2%}  {names[label]}")
    return 0


def with_weights(options, command):
    """Return (net, how many classes, what its checkpoint says of its inputs or None, its Preprocessing)."""
    if options.weights is None:
        try:
            options.weights = weights_file(options.net)
        except ValueError as error:
            raise UsageError(f"{error} Or give --weights FILE") from None
    state = read_weights(options.weights)
    net = net_of(options.net, options.args, command, classes=classes_of(state), rng=0)
    found, classes = load_weights(net, options.weights), net.parameters()[-1].data.size
    inputs = None  # how the images of a training run became x, if its checkpoint says so
    with suppress(CheckpointError):  # weights from elsewhere
        inputs = load_inputs(options.weights)
    prepare, how = _preparation(options, inputs, found.source, classes)
    print(f"{options.net}: {found}.\nImages prepared as {how}.")
    return net, classes, inputs, prepare


def _logits(net, x, classes, path, options):
    with net.evaluating():
        logits = net.forward(x)
    if logits.shape != (1, classes):
        raise UsageError(f"{options.net}: expected y of shape (N, classes), here (1, {classes}), got {logits.shape}")
    if not np.isfinite(logits).all():
        raise UsageError(f"{path}: the net answers NaN or infinity. Did its training diverge?")
    return logits[0].astype(np.float64)


# Whose preprocessing goes with whose names and how many classes.
USUAL = {
    ("torchvision", 1000): "imagenet",
    ("torchvision", 10): "chenyaofo",
    ("torchvision", 100): "cifar100",
    ("akamaster", 10): "akamaster",
    ("minires", 10): "mean-image",
}


def _preparation(options, inputs, source, classes):
    """(Preprocessing, what to call it)."""
    if options.preprocess:
        return preprocessing(options.preprocess), options.preprocess
    if inputs:
        shift, scale = inputs["normalisation"]
        return Preprocessing(shift.shape[-1], shift.shape[-1], shift, scale), "those of the run were"
    if (source, classes) not in USUAL:
        raise UsageError(
            f"{options.weights}: nothing says how its images were prepared. "
            f"Give --preprocess, one of {', '.join(PREPROCESSING)}."
        )
    how = USUAL[source, classes]
    return preprocessing(how), f"{how} (a guess from the names in the file; --preprocess chooses)"


def _class_names(options, inputs, classes):
    names = inputs["classes"] if inputs else class_names(classes)
    if options.classes:
        try:
            names = Path(options.classes).read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError:
            raise UsageError(f"--classes: {options.classes} is not a text file, one name per line") from None
        names = [name.strip() for name in names if name.strip()]
    if len(names) != classes:
        raise UsageError(f"--classes: expected {classes} names, one per line, got {len(names)}")
    return names
