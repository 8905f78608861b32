"""What commands ask of a person in the same words: shapes, classes and functions in files, places to write to."""

import ast
import importlib.util
import inspect
import os
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path

from minires.files import written_safely
from minires.lab.experiment import positive
from minires.layer import Layer
from minires.networks import network
from minires.page import is_made_by


class UsageError(Exception):
    """Something the person at the keyboard can put right; printed as one line."""


def shape_of(text):
    """An argparse type: sizes with commas between them, as a tuple."""
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if min(shape, default=0) < 1:
        raise UsageError(f"--input: expected sizes with commas between them, such as 2,3,8,8; got {text!r}")
    return shape


def image_shape(text):
    shape = shape_of(text)
    if len(shape) != 3:
        raise UsageError(f"--input: expected C,H,W of one image, such as 3,32,32; got {text!r}")
    return shape


def net_options(parser, name="net", image="default 3,32,32", classes="10; for an ImageNet network 1000", **several):
    """Add the options of a net that ``net_of`` makes."""
    add = parser.add_argument
    named = "plain-20, resnet-56, resnet-20-B, resnet18, wrn-16-4, ..., or FILE.py:NAME, which builds it"
    add(name, metavar="NET", help=named, **several)
    add("--args", default="", help='arguments of NAME in FILE.py, such as --args "20, width=32"')
    add("--input", type=image_shape, metavar="C,H,W", help=f"shape of one image ({image})")
    add("--classes", type=positive, metavar="K", help=f"number of classes (default {classes})")


def split_target(target, command, form):
    file, _, name = target.rpartition(":")
    name = os.fsencode(name).decode("utf-8", "replace")  # in an ASCII terminal Größe comes as bytes
    if not file.endswith(".py") or not name.isidentifier():
        raise UsageError(f"{command}: expected {form}; got {target!r}")
    return Path(file), name


def named_in(file, name, command):
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
        raise UsageError(f"{command}: {where(error, file)}") from None
    finally:
        sys.path.remove(str(file.parent))
    own = [key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == spec.name]
    found = getattr(module, name, None)
    if found is None:
        has = ", ".join(own) or "no class at all"
        raise UsageError(f"{command}: no {'class ' if command == 'check' else ''}{name} in {file}. It has: {has}.")
    return found


def construct(layer_class, text, file, command):
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
        what = where(error, file).rstrip(".")
        raise UsageError(f'{command}: {what}. Its constructor is {signature}: give --args "..."') from None


def where(error, file):
    """``scale.py, line 7: ValueError: message``, the line being the last one in the student's file."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == file.name]
    return f"{file}{f', line {lines[-1]}' if lines else ''}: {type(error).__name__}: {error}"


def net_of(target, args, command, **options):
    """The net of a name, with ``options``, or of FILE.py:NAME, a function or class called with ``args``."""
    if ".py" not in target:
        return network(target, **options)
    file, name = split_target(target, command, "FILE.py:NAME, such as mynet.py:build")
    build = named_in(file, name, command)
    if not callable(build):
        raise UsageError(f"{command}: {name} of {file} is not a function or class but of type {type(build).__name__}.")
    net = construct(build, args, file, command)
    if not isinstance(net, Layer):
        raise UsageError(f"{command}: expected {name} of {file} to return a Layer, got {type(net).__name__}.")
    return net


def check_folder(option, path):
    """Refuse a place that is a folder, or in a folder that is not there or not to be written to; None is no place."""
    if path and Path(path).is_dir():
        raise UsageError(f"{option}: expected the name of a file, got the folder {path}")
    if path and not Path(path).absolute().parent.is_dir():
        raise UsageError(f"{option}: no folder {Path(path).parent} to write {path} to")
    device = path and Path(path).exists() and not Path(path).is_file()  # /dev/stdout, say
    if path and not device and not os.access(Path(path).absolute().parent, os.W_OK):
        raise UsageError(f"{option}: {path} cannot be written to. Choose another place")


def check_page(option, path, by):
    """Refuse a place that cannot be written to, or that holds something other than a page of this command."""
    if Path(path).exists() and not (Path(path).is_file() and is_made_by(by, path)):
        raise UsageError(f"{option}: {path} is there already and no page of {by}. Choose another name")
    check_folder(option, path)


def write_page(path, text):
    with written_safely(Path(path)) as file:
        file.write(text.encode("utf-8", "replace"))  # the name of a folder may be no text
