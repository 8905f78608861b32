"""A layer of your own: written, checked, put into a ResNet-20, trained for a few steps on synthetic images.

python examples/extend_a_layer.py
"""

import argparse

import numpy as np

from minires import SGD, Layer, ReLU, check_layer, cifar_resnet, softmax_cross_entropy
from minires.data import endless, synthetic


class LeakyReLU(Layer):
    """y = x where x > 0, else slope * x; and so dx = dy where x > 0, else slope * dy."""

    def __init__(self, slope=0.1):
        self.slope = slope

    def forward(self, x):
        y = np.where(x > 0, x, self.slope * x).astype(x.dtype)
        return self._remember(y, x > 0)

    def backward(self, dy):
        (positive,) = self._recall(dy)
        return np.where(positive, dy, self.slope * dy).astype(dy.dtype)


def swap(net, old, new):
    """Put ``new()`` where the net has a layer of the class ``old``; return how many were swapped."""
    places = [
        (above, name) for _, above in net.named_layers() for name, layer in above.children() if type(layer) is old
    ]
    for above, name in places:
        setattr(above, name, new())
    return len(places)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30, help="steps of 32 images; default 30")
    steps = parser.parse_args(arguments).steps

    print(check_layer(LeakyReLU(), np.random.default_rng(0).normal(size=(2, 3, 4, 5))))

    net = cifar_resnet(20, rng=0)
    print(f"ResNet-20: {swap(net, ReLU, LeakyReLU)} ReLUs are leaky now")

    train_set, _ = synthetic(train_size=1000, test_size=10)
    optimizer = SGD(net.parameters(), lr=0.02, momentum=0.9)
    images = endless(train_set, batch_size=32, rng=0)
    losses = []
    for step in range(1, steps + 1):
        x, labels = next(images)
        loss, dlogits = softmax_cross_entropy(net.forward(x), labels)
        optimizer.zero_grad()
        net.backward(dlogits)
        optimizer.step()
        losses.append(loss)
        if step % 10 == 0 or step == steps:
            print(f"step {step:3d}: mean loss of the last steps {np.mean(losses[-10:]):.3f}", flush=True)
    return losses


if __name__ == "__main__":
    main()
