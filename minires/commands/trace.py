"""Show what every layer returns, and the gradient that comes back to it."""

from pathlib import Path

import numpy as np

from minires.checkpoint import load_checkpoint
from minires.commands.arguments import UsageError, check_page, image_shape, net_of, split_target, where, write_page
from minires.trace import Trace, differences, trace


def add_options(parser):
    add = parser.add_argument
    add("net", metavar="NET", help="a name as above, or FILE.py:NAME, a function or class that builds it")
    add("--args", default="", help="arguments of that function or class")
    add("--input", metavar="C,H,W", help="shape of one image (default 3,32,32)")
    add("--batch", type=int, metavar="N", help="images of noise (default 4)")
    add("--classes", type=int, default=10, metavar="K", help="number of classes (default 10)")
    add("--seed", type=int, default=0, help="of the images and, for a name, of the weights (default 0)")
    add("--checkpoint", metavar="FILE", help="take the weights from a checkpoint.npz of a run")
    add("--eval", action="store_true", help="in evaluation mode (default: training)")
    add("--html", metavar="FILE", help="write a page, with the layers' equations, instead of the table")
    add("--save", metavar="FILE", help="write all tensors, in float64, to compare with")
    add("--against", metavar="FILE", help="compare with a saved trace, on its batch and with its weights")
    add("--tolerance", type=float, default=1e-6, help="of a tensor's largest entry (default 1e-6)")


def run(options):
    _check_trace_options(options)
    reference = Trace.load(options.against) if options.against else None
    net = net_of(options.net, options.args, "trace", classes=options.classes, rng=options.seed)
    if reference:
        try:
            reference.put_into(net)
        except (KeyError, ValueError) as error:
            raise UsageError(
                f"trace: {options.net} cannot take the weights of {options.against}. {error.args[0]}"
            ) from None
        x, labels = reference.tensors["x"], reference.tensors["labels"]
    else:
        if options.checkpoint:
            load_checkpoint(options.checkpoint, net)
        net.train(not options.eval)
        batch, shape = 4 if options.batch is None else options.batch, image_shape(options.input or "3,32,32")
        x = np.random.default_rng(options.seed).standard_normal((batch, *shape), np.float32)
        labels = np.arange(batch) % options.classes
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
        from minires.figures import equation_svg  # here: matplotlib takes a while to load
        from minires.report.trace import page

        write_page(options.html, page(made, equation_svg, (found or agree) if reference else None))
        print(f"{options.net}: {len(made.rows)} layers traced; see {options.html}")
    elif not reference:
        print(made)
    if reference:
        print(found[0] if found else agree)
    return 1 if found else 0


def _check_trace_options(options):
    if (options.batch is not None and options.batch < 1) or options.classes < 1 or options.seed < 0:
        raise UsageError("trace: expected --batch and --classes of at least 1 and --seed of at least 0")
    taken = {"--batch": options.batch, "--input": options.input, "--checkpoint": options.checkpoint}
    for option, given in taken.items():
        if options.against and given is not None:
            raise UsageError(
                f"trace: {options.against} brings its own batch and weights. Leave {option} or --against out"
            )
    if options.against and options.eval:
        raise UsageError(f"trace: {options.against} brings its own mode. Leave --eval or --against out")
    if options.html:
        check_page("--html", Path(options.html), "minires trace")
    if options.save and not Path(options.save).absolute().parent.is_dir():
        raise UsageError(f"--save: no folder {Path(options.save).parent} to write {options.save} to")
    if options.save and options.against and Path(options.save).resolve() == Path(options.against).resolve():
        raise UsageError(f"--save: {options.save} is what is compared with. Choose another name")
