"""Assignment 14: a recurrent network."""

import numpy as np

from minires import Layer, Parameter


def step(x, h, weight_x, weight_h, bias):
    """(N, D), (N, H) -> (N, H): tanh(x W_x^T + h W_h^T + b)."""
    return np.tanh(x @ weight_x.T + h @ weight_h.T + bias)


class RNN(Layer):
    """All states of h_t = tanh(x_t W_x^T + h_{t-1} W_h^T + b).

    L depends on h_t through y_t = h_t and through a_{t+1} = x_{t+1} W_x^T + h_t W_h^T + b: dh_t = dy_t + da_{t+1} W_h,
    and da_t = dh_t (1 - h_t^2). With a window the second term is left out where a window ends.
    """

    def __init__(self, inputs, hidden, window=None, seed=0):
        rng = np.random.default_rng(seed)
        self.window = window
        self.weight_x = Parameter(rng.normal(0, inputs**-0.5, (hidden, inputs)))
        self.weight_h = Parameter(rng.normal(0, hidden**-0.5, (hidden, hidden)))
        self.bias = Parameter(np.zeros(hidden))

    def forward(self, x):
        weights = [p.data.astype(x.dtype) for p in (self.weight_x, self.weight_h, self.bias)]
        states = np.zeros((len(x), x.shape[1] + 1, len(self.bias.data)), x.dtype)  # states[:, 0] is the start
        for t in range(x.shape[1]):
            states[:, t + 1] = step(x[:, t], states[:, t], *weights)
        return self._remember(states[:, 1:].copy(), x, states)

    def backward(self, dy):
        x, states = self._recall(dy)
        w_x, w_h = self.weight_x.data.astype(dy.dtype), self.weight_h.data.astype(dy.dtype)
        dx, T = np.empty_like(x), x.shape[1]
        from_next = np.zeros_like(dy[:, 0])
        for t in reversed(range(T)):
            if self.window and (t + 1) % self.window == 0:
                from_next = np.zeros_like(from_next)
            da = (dy[:, t] + from_next) * (1 - states[:, t + 1] ** 2)
            self.weight_x.grad += da.T @ x[:, t]
            self.weight_h.grad += da.T @ states[:, t]
            self.bias.grad += da.sum(axis=0)
            dx[:, t] = da @ w_x
            from_next = da @ w_h
        return dx


def clip(gradients, most):
    """Scale all arrays by one factor so that their common norm is at most ``most``; return the norm before."""
    norm = float(np.sqrt(sum(np.sum(gradient**2) for gradient in gradients)))
    if norm > most:
        for gradient in gradients:
            gradient *= most / norm
    return norm


def clipped(gradients, most):
    """Given: (norm, arrays) after ``clip`` has worked on copies; the tests call this."""
    copies = [gradient.copy() for gradient in gradients]
    return clip(copies, most), copies
