"""The command ``minires``: thin, one function a subcommand; the work is done elsewhere in the package."""

import argparse
import ast
import importlib.util
import inspect
import json
import os
import shlex
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from minires import __version__
from minires.bench import bench, report_text
from minires.checkpoint import CheckpointError, load_checkpoint, load_inputs, written_safely
from minires.data import find_cifar10, load_cifar10
from minires.data.classes import class_names
from minires.data.images import PREPROCESSING, Preprocessing, preprocessing
from minires.doctor import examine
from minires.gradcheck import GradientError, check_layer
from minires.lab.runs import read_runs
from minires.layer import Layer
from minires.networks import network
from minires.page import is_made_by
from minires.trace import BY as TRACE
from minires.trace import Trace, difference, page, trace
from minires.walk import summary
from minires.weights import classes_of, load_weights, read_weights


class UsageError(Exception):
    """Something the person at the keyboard can put right; printed as one line."""


def main(arguments=None):
    """Run one command; return the exit status: 0 fine, 1 a check failed, 2 wrong use."""
    try:
        options = _parser().parse_args(arguments)
        status = options.command(options)
        sys.stdout.flush()
        return status
    except (UsageError, ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of our output, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"minires: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minires: interrupted", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{message}. See {self.prog} --help")


def _parser():
    parser = _Parser(
        prog="minires",
        description="A small deep-learning engine written to be read.",
        epilog="examples:\n  minires summary resnet18 --input 3,224,224\n"
        "  minires check scale.py:Scale --input 2,3,8,8",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minires {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(function, name, help):
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(command=function)
        return sub

    sub = command(data_command, "data", "fetch CIFAR-10 unless it is there, and check it")
    sub.add_argument("--data-dir", metavar="DIR", help="where it lies or shall lie (default: MINIRES_DATA, the cache)")
    sub.add_argument("--data-file", metavar="FILE", help="an archive that you have already")

    sub = command(summary_command, "summary", "walk through a network: shapes, parameters, multiply-adds")
    sub.add_argument("net", metavar="NET", help="plain-20, resnet-56, resnet-20-B, resnet18, wrn-16-4, ...")
    sub.add_argument(
        "--input", metavar="C,H,W", help="of an image (default 3,224,224 for ImageNet networks, else 3,32,32)"
    )
    sub.add_argument("--classes", type=int, metavar="K", help="default 1000 for an ImageNet network, else 10")

    sub = command(bench_command, "bench", "time a network: training step, inference, memory, each operator")
    sub.add_argument("nets", metavar="NET", nargs="*", default=["resnet-20"], help="names as above (default resnet-20)")
    sub.add_argument("--batch", type=int, default=128, metavar="N", help="images a step (default 128)")
    sub.add_argument("--input", default="3,32,32", metavar="C,H,W", help="shape of one image (default 3,32,32)")
    sub.add_argument("--classes", type=int, metavar="K", help="default 1000 for an ImageNet network, else 10")
    sub.add_argument("--repeat", type=int, default=10, metavar="N", help="turns of two counted steps (default 10)")
    sub.add_argument("--against", choices=["torch"], help="PyTorch does the same work in turn, if it is installed")
    sub.add_argument("--cold", action="store_true", help="measure also a start without compiled kernels")
    sub.add_argument("--json", metavar="FILE", help="write all numbers there, a list with a report for each NET")

    sub = command(predict_command, "predict", "say what is in an image, with weights from a file")
    sub.add_argument("net", metavar="NET", help="names as above")
    sub.add_argument("images", metavar="IMAGE", nargs="+", help="PNG, JPEG, ... of any size")
    sub.add_argument("--weights", required=True, metavar="FILE", help=".npz, .safetensors, or a run's checkpoint.npz")
    sub.add_argument(
        "--preprocess",
        choices=list(PREPROCESSING),
        help="whose mean and standard deviation (default: those kept in a checkpoint, else going by the names in FILE)",
    )
    sub.add_argument("--classes", metavar="FILE", help="names of the classes, one a line (default: by their number)")
    sub.add_argument("--top", type=int, default=5, metavar="N", help="how many classes to show (default 5)")

    sub = command(check_command, "check", "check the gradients of a layer of your own")
    sub.add_argument("target", metavar="FILE.py:CLASS")
    sub.add_argument("--input", required=True, metavar="N,C,H,W", help="shape of x, such as 2,3,8,8")
    sub.add_argument("--args", default="", help='arguments of the constructor, such as --args "4, 6, stride=2"')

    sub = command(trace_command, "trace", "show what every layer returns, and the gradient that comes back to it")
    sub.add_argument("net", metavar="NET", help="a name as above, or FILE.py:NAME, a function or class that builds it")
    sub.add_argument("--args", default="", help="arguments of that function or class")
    sub.add_argument("--input", metavar="C,H,W", help="shape of one image (default 3,32,32)")
    sub.add_argument("--batch", type=int, metavar="N", help="images of noise (default 4)")
    sub.add_argument("--classes", type=int, default=10, metavar="K", help="number of classes (default 10)")
    sub.add_argument("--seed", type=int, default=0, help="of the images and, for a name, of the weights (default 0)")
    sub.add_argument("--checkpoint", metavar="FILE", help="take the weights from a checkpoint.npz of a run")
    sub.add_argument("--eval", action="store_true", help="in evaluation mode (default: training)")
    sub.add_argument("--html", metavar="FILE", help="write a page, with the layers' equations, instead of the table")
    sub.add_argument("--save", metavar="FILE", help="write all tensors, in float64, to compare with")
    sub.add_argument("--against", metavar="FILE", help="compare with a saved trace, on its batch and with its weights")
    sub.add_argument("--tolerance", type=float, default=1e-6, help="of a tensor's largest entry (default 1e-6)")

    sub = command(report_command, "report", "make one page of training runs, to open in a browser")
    sub.add_argument("runs", metavar="RUN_DIR", nargs="+", help="the folder of a run, or a folder of such folders")
    sub.add_argument("--out", metavar="FILE", help="where to write it (default: report.html in RUN_DIR)")
    sub.add_argument("--images", type=int, default=64, metavar="N", help="measure on so many (default 64; 0: do not)")
    sub.add_argument("--data-dir", metavar="DIR", help="where CIFAR-10 is, for runs on it with a checkpoint.npz")
    sub.add_argument("--data-file", metavar="FILE", help="or its archive")

    command(doctor_command, "doctor", "say what is installed, and whether it works")
    return parser


def _shape(text):
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if min(shape, default=0) < 1:
        raise UsageError(f"--input: expected sizes with commas between them, such as 2,3,8,8; got {text!r}")
    return shape


def _image_shape(text):
    shape = _shape(text)
    if len(shape) != 3:
        raise UsageError(f"--input: expected C,H,W of one image, such as 3,32,32; got {text!r}")
    return shape


# -- data -----------------------------------------------------------------------------------------------------


def data_command(options):
    train_set, test_set = load_cifar10(options.data_dir, options.data_file, download=True)
    place = find_cifar10(options.data_dir, options.data_file)
    print(f"CIFAR-10 is in {place}, whole: {len(train_set):,} training and {len(test_set):,} test images of")
    print(", ".join(train_set.classes))
    return 0


# -- summary --------------------------------------------------------------------------------------------------


def summary_command(options):
    shape = None if options.input is None else _image_shape(options.input)
    if options.classes is not None and options.classes < 1:
        raise UsageError(f"--classes: expected at least 1, got {options.classes}")
    net = network(options.net, classes=options.classes, rng=0)
    shape = shape or ((3, 224, 224) if hasattr(net, "stage4") else (3, 32, 32))
    walk = summary(net, shape)
    print(f"{options.net} on an image of {'x'.join(map(str, shape))}\n\n{walk}\n")
    print("Multiply-adds are those of one image, forward; the papers call them FLOPs.")
    return 0


# -- bench ----------------------------------------------------------------------------------------------------


def bench_command(options):
    shape = _image_shape(options.input)
    if options.json and not Path(options.json).absolute().parent.is_dir():
        raise UsageError(f"--json: no folder {Path(options.json).parent} to write {options.json} to")
    reports = []
    for name in options.nets:
        wanted = options.batch, shape, options.classes, options.repeat, options.against, options.cold
        reports.append(bench(name, *wanted))
        print("\n" * (len(reports) > 1) + report_text(reports[-1]), flush=True)
        if options.json:  # after each: a long list of networks may be interrupted
            Path(options.json).write_text(json.dumps(reports, indent=1), encoding="utf-8")
    return 0


# -- predict --------------------------------------------------------------------------------------------------


def predict_command(options):
    if options.top < 1:
        raise UsageError(f"--top: expected at least 1, got {options.top}")
    net = network(options.net, classes=classes_of(read_weights(options.weights)), rng=0)
    found, classes = load_weights(net, options.weights), net.parameters()[-1].data.size
    inputs = _inputs(options.weights)
    prepare, how = _preparation(options, inputs, found.source, classes)
    names = _class_names(options, inputs, classes)
    print(f"{options.net}: {found}.\nImages prepared as {how}.")
    net.eval()
    for path in options.images:
        with net.without_caches():
            (logits,) = net.forward(prepare(path)).astype(np.float64)
        if not np.isfinite(logits).all():
            raise UsageError(f"{path}: the net answers NaN or infinity. Are the numbers in {options.weights} finite?")
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        print(f"\n{path}")
        for label in np.argsort(-probabilities, kind="stable")[: options.top]:
            print(f"{probabilities[label]:8.2%}  {names[label]}")
    return 0


def _inputs(path):
    """How the images of a training run became x, if its checkpoint says so."""
    try:
        return load_inputs(path)
    except CheckpointError:  # weights from elsewhere
        return None


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
            raise UsageError(f"--classes: {options.classes} is not a text file, one name a line") from None
        names = [name.strip() for name in names if name.strip()]
    if len(names) != classes:
        raise UsageError(f"--classes: expected {classes} names, one a line, got {len(names)}")
    return names


# -- check ----------------------------------------------------------------------------------------------------


def check_command(options):
    file, name = _split(options.target, "check", "FILE.py:CLASS, such as scale.py:Scale")
    layer_class = _layer_class(file, name)
    layer = _construct(layer_class, options.args, file, "check")
    x = np.random.default_rng(0).standard_normal(_shape(options.input))
    try:
        print(check_layer(layer, x))
    except GradientError as error:
        print(error)
        return 1
    except Exception as error:  # raised by the student's code, or by a layer on seeing what it was given
        print(f"minires: {_where(error, file)}", file=sys.stderr)
        return 1
    return 0


def _split(target, command, form):
    file, _, name = target.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise UsageError(f"{command}: expected {form}; got {target!r}")
    return Path(file), name


def _named_in(file, name, command):
    """Run the file as a module, as ``import`` would, and return what it calls ``name``."""
    if not file.is_file():
        near = get_close_matches(file.name, [path.name for path in file.parent.glob("*.py")], n=1)
        raise UsageError(f"{command}: no file {file}." + (f" Did you mean {file.with_name(near[0])}?" if near else ""))
    spec = importlib.util.spec_from_file_location(f"checked_{file.stem}", file)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))  # as for python FILE.py: it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(f"{command}: {error.filename}, line {error.lineno}: {error.msg}") from None
    except Exception as error:
        raise UsageError(f"{command}: {_where(error, file)}") from None
    finally:
        sys.path.remove(str(file.parent))
    own = [key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == spec.name]
    found = getattr(module, name, None)
    if found is None:
        has = ", ".join(own) or "no class at all"
        raise UsageError(f"{command}: no {'class ' if command == 'check' else ''}{name} in {file}. It has: {has}.")
    return found


def _layer_class(file, name):
    found = _named_in(file, name, "check")
    if not inspect.isclass(found):
        raise UsageError(f"check: {name} of {file} is not a class but of type {type(found).__name__}.")
    if not (hasattr(found, "forward") and hasattr(found, "backward")):
        raise UsageError(f"check: {name} of {file} has no forward and backward. Write  class {name}(minires.Layer):")
    return found


def _construct(layer_class, text, file, command):
    """Call the class with the arguments written in ``text``: constants only."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        args = [ast.literal_eval(value) for value in call.args]
        kwargs = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, AttributeError, TypeError):
        raise UsageError(f'--args: expected constants such as "4, 6, stride=2", got {text!r}') from None
    try:
        return layer_class(*args, **kwargs)
    except Exception as error:
        signature = f"{layer_class.__name__}{inspect.signature(layer_class)}"
        raise UsageError(
            f'{command}: {_where(error, file).rstrip(".")}. Its constructor is {signature}: give --args "..."'
        ) from None


def _where(error, file):
    """``scale.py, line 7: ValueError: message``, the line being the last one in the student's file."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == file.name]
    return f"{file}{f', line {lines[-1]}' if lines else ''}: {type(error).__name__}: {error}"


# -- trace ----------------------------------------------------------------------------------------------------


def trace_command(options):
    _check_trace_options(options)
    reference = Trace.load(options.against) if options.against else None
    net = _net_of(options)
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
        batch, shape = 4 if options.batch is None else options.batch, _image_shape(options.input or "3,32,32")
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
        raise UsageError(f"trace: {_where(error, _split(options.net, 'trace', '')[0])}") from None
    found = difference(made, reference, options.tolerance) if reference else None
    verdict = found or f"All {len(made.tensors)} tensors agree with {options.against}."
    if options.save:
        made.save(options.save)
    if options.html:
        from minires.plots import equation_svg  # here: matplotlib takes a while to load

        _write_page(options.html, page(made, equation_svg, verdict if reference else None))
        print(f"{options.net}: {len(made.rows)} layers traced; see {options.html}")
    elif not reference:
        print(made)
    if reference:
        print(verdict)
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
        _check_page("--html", Path(options.html), TRACE)
    if options.save and not Path(options.save).absolute().parent.is_dir():
        raise UsageError(f"--save: no folder {Path(options.save).parent} to write {options.save} to")
    if options.save and options.against and Path(options.save).resolve() == Path(options.against).resolve():
        raise UsageError(f"--save: {options.save} is what is compared with. Choose another name")


def _check_page(option, path, by):
    """Refuse a place that cannot be written to, or that holds something other than a page of this command."""
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{option}: no folder {path.parent} to write {path} to")
    if path.exists() and not (path.is_file() and is_made_by(by, path)):
        raise UsageError(f"{option}: {path} is there already and no page of {by}. Choose another name")


def _write_page(path, text):
    with written_safely(Path(path)) as file:
        file.write(text.encode("utf-8", "replace"))  # the name of a folder may be no text


def _net_of(options):
    if ".py" not in options.net:
        return network(options.net, classes=options.classes, rng=options.seed)
    file, name = _split(options.net, "trace", "FILE.py:NAME, such as mynet.py:build")
    build = _named_in(file, name, "trace")
    if not callable(build):
        raise UsageError(f"trace: {name} of {file} is not a function or class but of type {type(build).__name__}.")
    net = _construct(build, options.args, file, "trace")
    if not isinstance(net, Layer):
        raise UsageError(f"trace: expected {name} of {file} to return a Layer, got {type(net).__name__}.")
    return net


# -- report ---------------------------------------------------------------------------------------------------


def report_command(options):
    from minires.report import BY, report  # here: matplotlib takes a while to load

    if options.images < 0:
        raise UsageError(f"--images: expected at least 0, got {options.images}")
    runs, out = read_runs(options.runs), Path(options.out) if options.out else _beside(options.runs)
    _check_page("--out", out, BY)
    asked = shlex.join(["minires", "report", *options.runs])
    _write_page(out, report(runs, options.images, options.data_dir, options.data_file, asked))
    print(f"{len(runs)} run{'s' * (len(runs) > 1)}: see {out}")
    return 0


def _beside(places):
    """report.html in the folder that all of these are in."""
    if len(places) == 1:
        return Path(places[0], "report.html")
    common = Path(os.path.commonpath([Path(place).absolute() for place in places]))
    if common == Path(common.anchor):
        raise UsageError("report: the runs lie in folders far apart. Say where to write the page with --out")
    return common / "report.html"


# -- doctor ---------------------------------------------------------------------------------------------------


def doctor_command(options):
    return 0 if examine() else 1
