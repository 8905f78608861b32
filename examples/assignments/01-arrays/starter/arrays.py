"""Assignment 1: arrays, shapes, broadcasting. The hand-out, README.md, says what each function does."""

import numpy as np  # noqa: F401  you will need it


def standardise(x):
    """(N, D) -> (N, D): each column with mean 0 and standard deviation 1; a constant column becomes 0."""
    raise NotImplementedError("Task 1.1: mean and standard deviation along which axis?")


def one_hot(labels, classes):
    """(N,) integers -> (N, classes) float32; ValueError for a label out of range."""
    raise NotImplementedError("Task 1.2: zeros first, then one assignment with two index arrays.")


def to_batch(images):
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 from 0 to 1, contiguous."""
    raise NotImplementedError("Task 1.3: transpose, scale, and make it contiguous.")


def squared_distances(a, b):
    """(A, D), (B, D) -> (A, B): squared distances, none of them negative."""
    raise NotImplementedError("Task 1.4: |a - b|^2 = |a|^2 - 2 a.b + |b|^2.")


def sum_to_shape(dy, shape):
    """dL/dy of y's shape -> dL/db of the given shape, which had been broadcast to y's."""
    raise NotImplementedError("Task 1.5: which axes did broadcasting make, and which did it stretch?")
