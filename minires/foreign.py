"""What other projects call the arrays of a residual network.

The arrays are the same in every project, as layers are; only the names differ, and a table of patterns turns ours into
theirs. A network that ``cifar_network`` or ``imagenet_network`` built therefore loads a state dict of any of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

from minires.checks import some

# For each project, patterns in our names and what takes their place in its names, one after another.
NAMES = {
    "minires": [],
    "torchvision": [  # also chenyaofo/pytorch-cifar-models, and most others
        (r"^stage(?=\d)", "layer"),
        (r"\.residual\.branch\.", "."),
        (r"\.residual\.shortcut\.", ".downsample."),
        (r"^linear\.", "fc."),
    ],
    "akamaster": [  # akamaster/pytorch_resnet_cifar10; kuangliu/pytorch-cifar names its layers alike
        (r"^stage(?=\d)", "layer"),
        (r"\.residual\.branch\.", "."),
        (r"\.residual\.shortcut\.", ".shortcut."),
    ],
}


@dataclass(frozen=True)
class Loaded:
    """Which name is which; what ``load_weights`` did. ``print`` shows it."""

    source: str  # whose names the arrays have, a key of NAMES
    loaded: dict  # for each of our names the name in the file
    missing: dict  # of the names that the file lacks, likewise; empty if strict
    unexpected: list  # names in the file for which the net has no place
    ignored: list  # names of counters that nothing here needs (num_batches_tracked)
    # Of the names whose array in the file has another shape, so that it was not loaded: both, in the file and here.
    reshaped: dict = field(default_factory=dict)

    def __str__(self):
        text = f"{len(self.loaded)} arrays loaded, in the names of {self.source}"
        text += f"; {len(self.ignored)} counters num_batches_tracked ignored" if self.ignored else ""
        text += f"; missing {_pairs(self.missing)}" if self.missing else ""
        reshaped = [f"{name} {theirs} instead of {ours}" for name, (theirs, ours) in self.reshaped.items()]
        text += f"; not loaded, being of another shape, {some(reshaped)}" if reshaped else ""
        return text + (f"; unexpected {some(self.unexpected)}" if self.unexpected else "")

    def complaint(self):
        """What a strict load has to say: one line, or nothing if every name has its counterpart."""
        if not (self.missing or self.unexpected):
            return ""
        hint, past = "", re.compile(r"\.(downsample|shortcut)\.").search
        if not self.missing and all(map(past, self.unexpected)):
            hint = " The file has projections on its shortcuts, as with option B (or C)."
        elif not self.unexpected and all(map(past, self.missing)):
            hint = " The file has no projections on its shortcuts, as with option A."
        return (
            f"does not fit the net. Going by the names of {self.source}, missing {_pairs(self.missing)}; unexpected "
            f"{some(self.unexpected)}. Is it the same kind of network, with the same depth and shortcut?{hint}"
        )


def foreign_name(name, source):
    """Return what ``source``, a key of ``NAMES``, calls the array that we call ``name``.

    >>> foreign_name("stage2.0.residual.shortcut.0.weight", "torchvision")
    'layer2.0.downsample.0.weight'
    """
    for pattern, replacement in NAMES[source]:
        name = re.sub(pattern, replacement, name)
    return name


def without_wrapper(name):
    """Return a name without what wrappers of a net put before it: torch's DataParallel, torch.compile, Lightning."""
    return re.sub(r"^((module|model|_orig_mod)\.)+", "", name)


def match_names(own, theirs):
    """Find the project whose names fit best; return the Loaded that loading would give.

    ``own`` and ``theirs`` are the names in the net and in the file. All of theirs may begin with ``module.``,
    ``model.``, ``_orig_mod.``.
    """
    theirs = dict.fromkeys(theirs)
    ignored = [name for name in theirs if name.rpartition(".")[2] == "num_batches_tracked"]
    prefixes = dict.fromkeys(["", *(name[: len(name) - len(without_wrapper(name))] for name in theirs)])

    def match(source, prefix):
        pairs = {name: prefix + foreign_name(name, source) for name in own}
        loaded = {name: foreign for name, foreign in pairs.items() if foreign in theirs}
        missing = {name: foreign for name, foreign in pairs.items() if foreign not in theirs}
        known = {*loaded.values(), *ignored}
        return Loaded(source, loaded, missing, [name for name in theirs if name not in known], ignored)

    return max((match(*how) for how in product(NAMES, prefixes)), key=lambda found: len(found.loaded))


def in_own_names(own, state, strict):
    """Return the arrays of a state dict by our names; KeyError if they are another project's and do not all fit."""
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        return state  # the complaint is not about names
    match = match_names(own, state)
    if strict and match.source != "minires" and match.complaint():
        raise KeyError(f"load_state_dict: {match.complaint()} strict=False loads what fits.")
    return {name: state[theirs] for name, theirs in match.loaded.items()} | {
        name: state[name] for name in match.unexpected
    }


def _pairs(names):
    return some([theirs if theirs == ours else f"{theirs} (here {ours})" for ours, theirs in names.items()], most=3)
