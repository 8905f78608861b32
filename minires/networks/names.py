"""Networks by name, as the command line and run files call them: ``plain-56``, ``resnet-20-B``, ``wrn-16-4``."""

import re
from difflib import get_close_matches

from minires.checks import require, shown
from minires.networks.cifar import (
    BOTTLENECK_DEPTHS,
    DEPTHS,
    cifar_bottleneck,
    cifar_plain,
    cifar_resnet,
    cifar_stochastic_depth,
    preact_resnet,
    wide_resnet,
)
from minires.networks.highway import cifar_highway, highway_mlp
from minires.networks.imagenet import BASIC, imagenet_plain, imagenet_preact, imagenet_resnet, imagenet_wide
from minires.networks.relatives import vgg16
from minires.networks.variants import VARIANTS, cifar_one_layer, cifar_variant

IMAGENET = (18, 34, 50, 101, 152)  # these depths are ImageNet's, also those that are 6n + 2


def _resnet(depth, shortcut=None, **options):
    if shortcut:
        options["shortcut"] = shortcut if shortcut == "2x2" else shortcut.upper()
    if depth in BOTTLENECK_DEPTHS:
        return cifar_bottleneck(depth, **options)
    return (imagenet_resnet if depth in IMAGENET else cifar_resnet)(depth, **options)


def _wide(depth, k, dropout, **options):
    if (depth, k) in [(50, 2), (101, 2)]:
        return imagenet_wide(depth, k, **options)
    return wide_resnet(depth, k, float(dropout or 0), **options)


NAMES = {  # what people type: (pattern of the name, what builds the network from the pattern's groups, what to suggest)
    "plain-DEPTH": (
        r"plain-?(\d+)",
        lambda depth, **options: (imagenet_plain if depth in BASIC else cifar_plain)(depth, **options),
        [f"plain-{depth}" for depth in (*DEPTHS, *BASIC)],
    ),
    "resnet-DEPTH": (r"resnet-?(\d+)", _resnet, [f"resnet-{d}" for d in (*DEPTHS, *IMAGENET, *BOTTLENECK_DEPTHS)]),
    "resnet-DEPTH-A|B|C|2x2": (r"resnet-?(\d+)-?([ABC]|(?<=-)2x2)", _resnet, []),
    "resnet-DEPTH-VARIANT": (
        rf"resnet-?(\d+)-({'|'.join(map(re.escape, VARIANTS))})",
        lambda depth, variant, **options: cifar_variant(depth, variant.lower(), **options),
        [f"resnet-110-{variant}" for variant in VARIANTS],
    ),
    "bottleneck-DEPTH": (r"bottleneck-?(\d+)", cifar_bottleneck, ["bottleneck-164"]),
    "preact-DEPTH": (
        r"preact(?:-?resnet)?-?(\d+)",
        lambda depth, **options: (imagenet_preact if depth == 200 else preact_resnet)(depth, **options),
        ["preact-110", "preact-164", "preact-1001", "preact-200"],
    ),
    "wrn-DEPTH-K": (
        r"(?:wrn|wide-?resnet)-?(\d+)-(\d+)(?:-dropout(0?\.\d+))?",
        _wide,
        ["wrn-16-4", "wrn-40-4", "wrn-28-10", "wrn-50-2"],
    ),
    "highway-DEPTH": (r"highway-?(\d+)", cifar_highway, ["highway-32"]),
    "highway-mlp-DEPTH": (r"highway-mlp-?(\d+)", highway_mlp, ["highway-mlp-10"]),
    "stochastic-depth-DEPTH": (r"stochastic-depth-?(\d+)", cifar_stochastic_depth, ["stochastic-depth-110"]),
    "one-layer-DEPTH": (r"one-layer-?(\d+)", cifar_one_layer, ["one-layer-20"]),
    "vgg-16": (r"vgg-?16", vgg16, ["vgg-16"]),
}
RULE = (
    "For ImageNet: plain-18 and 34; resnet-18, 34, 50, 101 and 152; preact-200; wrn-50-2 and 101-2. For CIFAR: any "
    "other 6n + 2 (20, 32, 44, 56, 110); resnet-164 and 1001, bottleneck, and preact from 164 on 9n + 2; wrn 6n + 4; "
    "highway and one-layer 3n + 2"
)


def network(name, classes=None, rng=None, in_channels=None):
    """Return the network of this name: ``resnet-DEPTH``, ``resnet-DEPTH-A|B|C``, ``wrn-DEPTH-K``, ..., see ``NAMES``.

    The hyphen before the depth may be left out, and ``_`` stand for it. Depths 18, 34, 50, 101 and 152 are the ImageNet
    networks, 164 and 1001 the bottleneck networks of [He2016], others the CIFAR networks of 6n + 2 layers. So
    ``resnet50`` is ImageNet's; the CIFAR network of 50 layers is ``cifar_resnet(50)``. ``classes`` is by default 1000
    for the ImageNet networks, 10 for the others; ``in_channels``, for the others alone, 3.

    >>> len(network("resnet20-B", rng=0).parameters())
    65
    """
    require(isinstance(name, str), "network", "a name such as 'resnet-20'", shown(name), "By depth: cifar_resnet(20).")
    known = name.strip().replace("_", "-")
    for pattern, build, _ in NAMES.values():
        match = re.fullmatch(pattern, known, re.IGNORECASE)
        if match:
            groups = [int(group) if group and group.isdecimal() else group for group in match.groups()]
            options = {"classes": classes, "in_channels": in_channels}
            return build(*groups, **{name: value for name, value in options.items() if value is not None}, rng=rng)
    every = [example for *_, examples in NAMES.values() for example in examples]
    near = get_close_matches(known.lower(), every, n=1, cutoff=0.6)
    hint, rule = (f"Did you mean {near[0]}? ", "") if near else ("", f" {RULE}.")
    raise ValueError(f"unknown network {name!r}. {hint}Known: {', '.join(NAMES)}.{rule}")
