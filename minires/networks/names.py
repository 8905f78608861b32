"""Networks by name, as the command line and run files call them: ``plain-56``, ``resnet-20``, ``resnet-20-B``."""

import re
from difflib import get_close_matches

from minires.networks.cifar import DEPTHS, cifar_plain, cifar_resnet


def _resnet(depth, shortcut, **options):
    return cifar_resnet(int(depth), shortcut=(shortcut or "A").upper(), **options)


NAMES = {  # pattern of the name: what builds the network from the groups of the pattern
    r"plain-?(\d+)": lambda depth, **options: cifar_plain(int(depth), **options),
    r"resnet-?(\d+)(?:-?([ABC]))?": _resnet,
}
FORMS = ["plain-DEPTH", "resnet-DEPTH", "resnet-DEPTH-A|B|C"]


def network(name, classes=10, rng=None):
    """Return the network of this name.

    Parameters
    ----------
    name : str
        ``plain-DEPTH``, ``resnet-DEPTH`` (shortcut A) or ``resnet-DEPTH-A|B|C``; the hyphens may be left out.

    Examples
    --------
    >>> len(network("resnet20-B", rng=0).parameters())
    65
    """
    for pattern, build in NAMES.items():
        match = re.fullmatch(pattern, name.strip(), re.IGNORECASE)
        if match:
            return build(*match.groups(), classes=classes, rng=rng)
    known = [form.split("-DEPTH")[0] + f"-{depth}" for form in FORMS for depth in DEPTHS]
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ValueError(f"unknown network {name!r}. {hint}Known: {', '.join(FORMS)}; depths {DEPTHS} or any 6n + 2.")
