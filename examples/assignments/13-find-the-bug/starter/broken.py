"""Ten layers with one mistake each. Do not change this file; mend them in fixed.py."""

import numpy as np

from minires import Layer, Parameter


class A(Layer):
    """y = x + b, one b for each column."""

    def __init__(self, features):
        self.bias = Parameter(np.zeros(features))

    def forward(self, x):
        return self._remember(x + self.bias.data.astype(x.dtype))

    def backward(self, dy):
        self._recall(dy)
        self.bias.grad += dy.mean(axis=0)
        return dy


class B(Layer):
    """y = w x, one w for each column."""

    def __init__(self, features):
        self.weight = Parameter(np.linspace(1, 2, features))

    def forward(self, x):
        return self._remember(self.weight.data.astype(x.dtype) * x, x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.weight.grad[...] = np.sum(dy * x, axis=0)
        return self.weight.data.astype(dy.dtype) * dy


class C(Layer):
    """y = min(max(x, 0), 1)."""

    def forward(self, x):
        return self._remember(np.clip(x, 0, 1), x)

    def backward(self, dy):
        self._recall(dy)
        return np.where((dy > 0) & (dy < 1), dy, 0).astype(dy.dtype)


class D(Layer):
    """y = softmax of each row."""

    def forward(self, x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        y = e / e.sum(axis=1, keepdims=True)
        return self._remember(y, y)

    def backward(self, dy):
        (y,) = self._recall(dy)
        return dy * y * (1 - y)


class E(Layer):
    """y = x / r, where r is the root of the mean of x^2 of each row."""

    def forward(self, x):
        r = np.sqrt(np.mean(x**2, axis=1, keepdims=True))
        return self._remember(x / r, x, r)

    def backward(self, dy):
        x, r = self._recall(dy)
        return dy / r


class F(Layer):
    """y = log(1 + exp(x))."""

    def forward(self, x):
        y = np.logaddexp(0, x)
        return self._remember(y, x, y)

    def backward(self, dy):
        x, y = self._recall(dy)
        return dy / (1 + np.exp(-y))


class G(Layer):
    """y_t = x_t + x_(t+1) + x_(t+2) for rows x: sums of windows of three."""

    def forward(self, x):
        return self._remember(x[:, :-2] + x[:, 1:-1] + x[:, 2:], x.shape)

    def backward(self, dy):
        (shape,) = self._recall(dy)
        dx = np.zeros(shape, dy.dtype)
        for shift in range(3):
            dx[:, shift : shift + dy.shape[1]] = dy
        return dx


class H(Layer):
    """y = m x in training, with m of 0 or 2 at random; y = x in evaluation."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        m = (2 * (self.rng.random(x.shape) < 0.5)).astype(x.dtype) if self.training else np.ones_like(x)
        return self._remember(m * x, m)

    def backward(self, dy):
        (m,) = self._recall(dy)
        if np.all(m == 1):
            return dy
        return (2 * (self.rng.random(dy.shape) < 0.5)).astype(dy.dtype) * dy


class J(Layer):
    """y = |x|."""

    sign = None

    def forward(self, x):
        if self.sign is None or self.sign.shape != x.shape:
            self.sign = np.sign(x)
        return self._remember(np.abs(x))

    def backward(self, dy):
        self._recall(dy)
        return self.sign.astype(dy.dtype) * dy


class K(Layer):
    """y = x W with a square W."""

    def __init__(self, features):
        self.weight = Parameter(np.random.default_rng(2).normal(size=(features, features)))

    def forward(self, x):
        return self._remember(x @ self.weight.data.astype(x.dtype), x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.weight.grad += x.T @ dy
        square = self.weight.data.astype(dy.dtype)
        return dy @ square
