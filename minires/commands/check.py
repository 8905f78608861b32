"""Check the gradients of a layer of your own."""

import inspect
import sys

import numpy as np

from minires.commands.arguments import UsageError, construct, named_in, shape_of, split_target, where
from minires.gradcheck import GradientError, check_layer


def add_options(parser):
    add = parser.add_argument
    add("target", metavar="FILE.py:CLASS")
    add("--input", required=True, metavar="N,C,H,W", help="shape of x, such as 2,3,8,8")
    add("--args", default="", help='arguments of the constructor, such as --args "4, 6, stride=2"')


def run(options):
    file, name = split_target(options.target, "check", "FILE.py:CLASS, such as scale.py:Scale")
    layer_class = _layer_class(file, name)
    layer = construct(layer_class, options.args, file, "check")
    x = np.random.default_rng(0).standard_normal(shape_of(options.input))
    try:
        report = check_layer(layer, x)
    except GradientError as error:
        cause = error.__cause__  # what forward or backward raised
        print(error, *([f"({where(cause, file).partition(': ')[0]})"] if cause else []))
        return 1
    except Exception as error:  # raised by the student's code, or by a layer on seeing what it was given
        print(f"minires: {where(error, file)}", file=sys.stderr)
        return 1
    print(report)
    return 0


def _layer_class(file, name):
    found = named_in(file, name, "check")
    if not inspect.isclass(found):
        raise UsageError(f"check: {name} of {file} is not a class but of type {type(found).__name__}.")
    if not (hasattr(found, "forward") and hasattr(found, "backward")):
        raise UsageError(f"check: {name} of {file} has no forward and backward. Write  class {name}(minires.Layer):")
    return found
