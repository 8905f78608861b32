"""Images to train on: CIFAR, MNIST, a synthetic set that needs no download, and the batches made from any of them."""

from minires.data.batches import batches, endless
from minires.data.dataset import Dataset
from minires.data.sources import SOURCES, find, find_cifar10, load, load_cifar10
from minires.data.synthetic import synthetic

__all__ = ["SOURCES", "Dataset", "batches", "endless", "find", "find_cifar10", "load", "load_cifar10", "synthetic"]
