"""A course: assignments, their tests, and grading that a submission cannot talk to.

A test file of an assignment begins with::

    from minires.course import submitted

    mine = submitted(__file__, "activations.py")   # whatever the student's file holds: mine.ReLU()

A student's pytest imports that file. Under ``minires grade`` the same line gives stand-ins (session.py) for what a file
holds that runs in another process (worker.py), so that tests and answers are never in one process with what they judge.
"""

import copy
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np

from minires import gradcheck

running = None  # set by examine.py: the Session of the process that runs the student's file


def submitted(test_file, name):
    """Return a namespace of what the student's file ``name`` holds; it is loaded when first used.

    Looked for beside the folder of the tests, as students have it, and in ``starter/`` there, as the course has it.
    """
    return _Submitted(Path(test_file).parent.parent, name)


def seeded(number=0):
    """Return a random generator; ``minires grade --seed`` changes its numbers, so that nobody can write for them."""
    return np.random.default_rng((int(os.environ.get("MINIRES_COURSE_SEED", 0)), number, 18))


def check_layer(layer, x, **options):
    """``minires.check_layer``, but refuse a layer that does nothing: there y = 0 with dx = 0 passes, as it is right."""
    __tracebackhide__ = True  # of pytest
    fresh, many = copy.deepcopy(layer), np.concatenate([x, -x] * 5)  # a few numbers may all be negative, say
    report = gradcheck.check_layer(layer, x, **options)
    y = fresh.forward(many.copy())
    assert np.ptp(y) > 0, "y does not move when x does: what does forward return?"
    assert not np.array_equal(y, many), "y is x: forward does nothing."
    return report


class _Submitted:
    def __init__(self, folder, name):
        self._folder, self._name, self._module = folder, name, None

    def __getattr__(self, attribute):
        if attribute.startswith("_"):  # pytest asks every object of a module whether it is a fixture
            raise AttributeError(attribute)
        if running is not None:
            return getattr(running.module(self._name), attribute)
        if self._module is None:
            self._module = load(self._file())
        try:
            return getattr(self._module, attribute)
        except AttributeError:
            raise AttributeError(f"{self._name} has no {attribute}. Is it misspelt, or deleted?") from None

    def _file(self):
        for place in (self._folder / self._name, self._folder / "starter" / self._name):
            if place.is_file():
                return place
        raise FileNotFoundError(f"no {self._name} in {self._folder}: the tests look for it beside their own folder")


def load(path):
    """Import a file by its path; it may import its neighbours."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
