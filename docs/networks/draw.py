"""Draw the blocks of these pages from the objects themselves:  python docs/networks/draw.py"""

from pathlib import Path

from minires.lab.blocks.figure import block_figure
from minires.layers import Sequential
from minires.networks import (
    basic_block,
    bottleneck_block,
    highway_block,
    inception_block,
    one_layer_block,
    preact_block,
    variant_block,
    vgg16,
)
from minires.networks.cifar import cifar_stochastic_depth

VARIANTS = ["original", "bn-after-addition", "relu-before-addition", "relu-only-preactivation"]
VARIANTS += ["scaling-0.5-0.5", "shortcut-gating-6", "conv-shortcut", "dropout-shortcut"]
BLOCKS = {
    "basic": basic_block(16, 32, 2, shortcut="B", rng=0),
    "one-layer": one_layer_block(16, 16, rng=0),
    "imagenet-2x2": basic_block(64, 128, 2, shortcut="2x2", rng=0),
    "bottleneck": bottleneck_block(256, 256, rng=0),
    "preactivation": preact_block(16, 16, rng=0),
    "preactivation-changed": preact_block(16, 32, 2, rng=0),
    "wide": preact_block(160, 160, dropout=0.3, rng=0),
    "gating": variant_block(16, 16, variant="exclusive-gating-6", rng=0),
    **{name: variant_block(16, 16, variant=name, rng=0) for name in VARIANTS},
    "highway": highway_block(16, 16, rng=0),
    "highway-free": highway_block(16, 16, carry="free", rng=0),
    "stochastic-depth": cifar_stochastic_depth(110, rng=0).stage3[17],
    "vgg": Sequential(*vgg16(rng=0)[:7]),  # the first stage
    "inception": inception_block(192, 64, 96, 128, 16, 32, 32, rng=0),
}

if __name__ == "__main__":
    for name, block in BLOCKS.items():
        block_figure(block).savefig(Path(__file__).with_name(f"{name}.png"))
