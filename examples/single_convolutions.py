"""Convolutions that are not 3x3 with stride 1, one at a time, against PyTorch: where does a network lose its time?

Times one ``Conv2d`` of each shape and PyTorch's in both of its memory formats, in turns, forward alone and forward with
backward, and prints a table of medians. The ratio of each turn is to the faster format. PyTorch (pip install torch) is
needed for this example alone. In two minutes::

    python examples/single_convolutions.py
    python examples/single_convolutions.py --shape 128,16,32,32,3,2 --shape 8,256,56,64,1,1 --turns 20

A shape is: images, channels, height and width, output channels, kernel size, stride. Nothing else should run meanwhile.
"""

import argparse
import time

import numpy as np

from minires import Conv2d
from minires.bench.engine import seconds
from minires.kernels.machine.cores import num_threads
from minires.lab.experiment import positive

SHAPES = """
128,16,32,32,3,2  128,32,16,64,3,2  128,64,32,128,3,2  8,64,56,128,3,2  8,128,28,256,3,2  8,256,14,512,3,2
8,3,224,64,7,2
128,64,32,16,1,1  128,16,32,64,1,1  128,64,8,256,1,1  128,256,8,64,1,1  8,64,56,256,1,1  8,256,56,64,1,1
8,1024,14,256,1,1
128,16,32,32,1,2  128,32,16,64,1,2  8,64,56,128,1,2  8,512,28,1024,1,2
""".split()
CALLS, PAUSE = 5, 0.03  # calls in a turn, after one uncounted; seconds before it, in which threads fall asleep


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=shape, action="append", metavar="N,C,H,O,K,S", help="default: 18 of ResNets")
    parser.add_argument("--turns", type=positive, default=9, metavar="N", help="default: %(default)s")
    options = parser.parse_args(arguments)
    print("| images | channels | kernel | forward, ms | ratio | with backward, ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for one in options.shape or map(shape, SHAPES):
        N, C, H, O, kernel, stride = one
        text = f"| {N} of {H}x{H} | {C} to {O} | {kernel}x{kernel}{f'/{stride}' if stride > 1 else ''} |"
        for ways in zip(own_ways(*one), *torch_ways(*one)):
            taken = np.array([[median_ms(way) for way in ways] for _ in range(options.turns)])
            ratio = taken[:, 0] / taken[:, 1:].min(axis=1)
            text += f" {np.median(taken[:, 0]):.2f} | {np.median(ratio):.2f} |"
        print(text, flush=True)


def shape(text):
    try:
        numbers = [positive(number) for number in text.split(",")]
    except (ValueError, argparse.ArgumentTypeError):
        numbers = []
    if len(numbers) != 6 or numbers[2] < numbers[4] - 2 * (numbers[4] // 2):
        raise argparse.ArgumentTypeError(f"expected six whole numbers such as 128,16,32,32,3,2, got {text!r}")
    return numbers


def own_ways(N, C, H, O, kernel, stride):
    """The two things to time: forward, and forward with backward."""
    conv = Conv2d(C, O, kernel, stride=stride, padding=kernel // 2, bias=False, rng=0)
    x = np.random.default_rng(0).standard_normal((N, C, H, H), np.float32)
    dy = conv.forward(x)

    def both():
        conv.forward(x)
        conv.backward(dy)

    return lambda: conv.forward(x), both


def torch_ways(N, C, H, O, kernel, stride):
    """The same two in PyTorch, for each memory format."""
    try:
        import torch
    except ImportError:
        need = "single_convolutions: compares with PyTorch, which is not here. Run: pip install torch"
        raise SystemExit(need) from None
    torch.set_num_threads(num_threads())
    formats = torch.contiguous_format, torch.channels_last
    return [in_format(torch, memory_format, N, C, H, O, kernel, stride) for memory_format in formats]


def in_format(torch, memory_format, N, C, H, O, kernel, stride):
    conv = torch.nn.Conv2d(C, O, kernel, stride, kernel // 2, bias=False).to(memory_format=memory_format)
    x = torch.randn(N, C, H, H).contiguous(memory_format=memory_format).requires_grad_()
    dy = conv(x).detach()

    def forward():
        with torch.inference_mode():
            conv(x)

    def both():
        x.grad = None
        conv(x).backward(dy)

    return forward, both


def median_ms(way):
    time.sleep(PAUSE)
    way()
    return 1000 * np.median(seconds(way, CALLS))


if __name__ == "__main__":
    main()
