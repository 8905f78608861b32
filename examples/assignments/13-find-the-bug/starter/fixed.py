"""Assignment 13: mend the ten layers of broken.py. The hand-out, README.md, says how."""

import broken
import numpy as np  # noqa: F401  you will need it


class A(broken.A):
    """What was the mistake?"""

    def backward(self, dy):
        raise NotImplementedError("Task 13.1: layer A.")


class B(broken.B):
    """What was the mistake?"""

    def backward(self, dy):
        raise NotImplementedError("Task 13.1: layer B.")


class C(broken.C):
    """What was the mistake?"""

    def backward(self, dy):
        raise NotImplementedError("Task 13.1: layer C.")


class D(broken.D):
    """What was the mistake?"""

    def backward(self, dy):
        raise NotImplementedError("Task 13.1: layer D.")


class E(broken.E):
    """What was the mistake?"""

    def backward(self, dy):
        raise NotImplementedError("Task 13.1: layer E.")


class F(broken.F):
    """What was the mistake?"""

    def backward(self, dy):
        raise NotImplementedError("Task 13.2: layer F.")


class G(broken.G):
    """What was the mistake?"""

    def backward(self, dy):
        raise NotImplementedError("Task 13.2: layer G.")


class H(broken.H):
    """What was the mistake?"""

    def backward(self, dy):
        raise NotImplementedError("Task 13.2: layer H.")


class J(broken.J):
    """What was the mistake?"""

    def forward(self, x):
        raise NotImplementedError("Task 13.2: layer J; both methods may have to change.")

    def backward(self, dy):
        raise NotImplementedError("Task 13.2: layer J.")


class K(broken.K):
    """What was the mistake?"""

    def backward(self, dy):
        raise NotImplementedError("Task 13.2: layer K.")


def mistakes():
    """{"A": word, ..., "K": word}, with the words of the hand-out's table."""
    raise NotImplementedError("Task 13.3: one word for each layer.")
