"""Images to train on: CIFAR-10, a synthetic set that needs no download, and the batches made from either."""

from minires.data.batches import batches, endless
from minires.data.cifar10 import find_cifar10, load_cifar10
from minires.data.dataset import Dataset
from minires.data.synthetic import synthetic

__all__ = ["Dataset", "batches", "endless", "find_cifar10", "load_cifar10", "synthetic"]
