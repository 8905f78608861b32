"""Show what every layer returns, and the gradient that comes back to it."""

from pathlib import Path

import numpy as np

from minires.checkpoint import load_checkpoint
from minires.commands.arguments import (
    UsageError,
    check_folder,
    check_page,
    net_of,
    net_options,
    split_target,
    where,
    write_page,
)
from minires.lab.experiment import positive, whole
from minires.trace import Trace, differences, trace


def add_options(parser):
    net_options(parser, classes="10")
    add = parser.add_argument
    add("--batch", type=positive, metavar="N", help="images of noise (default 4)")
    add("--seed", type=whole, default=0, help="of the images and, for a name, of the weights (default 0)")
    add("--checkpoint", metavar="FILE", help="take the weights from a checkpoint.npz of a run")
    add("--eval", action="store_true", help="in evaluation mode (default: training)")
    add("--html", metavar="FILE", help="write a page, with the layers' equations, instead of the table")
    add("--save", metavar="FILE", help="write all tensors, in float64, to compare with")
    add("--against", metavar="FILE", help="compare with a saved trace, on its batch and with its weights")
    add("--tolerance", type=float, default=1e-6, help="of a tensor's largest entry (default 1e-6)")


def run(options):
    _check_places(options)
    reference, classes = Trace.load(options.against) if options.against else None, options.classes or 10
    net = net_of(options.net, options.args, "trace", classes=classes, rng=options.seed)
    if reference:
        try:
            reference.put_into(net)
        except (KeyError, ValueError) as error:
            why = f"cannot take the weights of {options.against}. {error.args[0]}"
            raise UsageError(f"trace: {options.net} {why}") from None
        x, labels = reference.tensors["x"], reference.tensors["labels"]
    else:
        if options.checkpoint:
            load_checkpoint(options.checkpoint, net)
        net.train(not options.eval)
        shape = options.batch or 4, *(options.input or (3, 32, 32))
        x = np.random.default_rng(options.seed).standard_normal(shape, np.float32)
        labels = np.arange(len(x)) % classes
    if options.save or reference:  # in float32 rounding takes a number or two to the other side of a ReLU's kink
        net.astype(np.float64)
        x = x.astype(np.float64)
    try:
        made = trace(net, x, labels, options.net)
    except Exception as error:
        if ".py" not in options.net:
            raise
        raise UsageError(f"trace: {where(error, split_target(options.net, 'trace', '')[0])}") from None
    found = differences(made, reference, options.tolerance) if reference else []
    agree = f"All {len(made.tensors)} tensors agree with {options.against}."
    if options.save:
        made.save(options.save)
    if options.html:
        from minires.report.trace import page  # here: matplotlib takes a while to load

        write_page(options.html, page(made, (found or agree) if reference else None))
        print(f"{options.net}: {len(made.rows)} layers traced; see {options.html}")
    elif not reference:
        print(made)
    if reference:
        print(found[0] if found else agree)
    return 1 if found else 0


def _check_places(options):
    if options.against:
        for option in ("batch", "input", "checkpoint", "eval"):
            if getattr(options, option):
                brings = "brings its own batch, weights and mode"
                raise UsageError(f"trace: {options.against} {brings}. Leave --{option} or --against out")
        if options.save and Path(options.save).resolve() == Path(options.against).resolve():
            raise UsageError(f"--save: {options.save} is what is compared with. Choose another name")
    if options.html:
        check_page("--html", options.html, "minires trace")
    check_folder("--save", options.save)
