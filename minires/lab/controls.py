"""The same network with one thing changed: the controls of an experiment."""

import copy

from minires.layers import BatchNorm2d, Conv2d, Identity


def without_batchnorm(net):
    """Return a copy of a net with an ``Identity`` in the place of every BatchNorm2d.

    Its convolutions have no biases, as theirs were the batch norms'.
    """
    net = copy.deepcopy(net)
    for _, layer in list(net.named_layers()):
        vars(layer).update({name: _without(value) for name, value in vars(layer).items() if name != "_cache"})
    return net


def _without(value):
    """The value with an Identity for each BatchNorm2d in it."""
    if isinstance(value, BatchNorm2d):
        return Identity()
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items()}
    return type(value)(map(_without, value)) if type(value) in (list, tuple) else value


def scaled_weights(net, factor):
    r"""Return a copy of a net with the weights of its convolutions multiplied by ``factor``.

    From He's variance 2/fan_in, :math:`1/\sqrt 2` leads to 1/fan_in: an initialisation that is right for linear
    layers (LeCun's; Glorot's, where a layer has as many inputs as outputs) and halves the variance at every ReLU.
    """
    net = copy.deepcopy(net)
    for _, layer in net.named_layers():
        if isinstance(layer, Conv2d):
            layer.weight.data *= factor
    return net


def settled(net, x):
    """Return a copy of a net in evaluation mode whose running statistics are those of the batch ``x``.

    Then each image is computed by itself, as a function of that image alone; at initialisation the running statistics
    would be 0 and 1, whatever the activations are.
    """
    net = copy.deepcopy(net).train()
    norms = [layer for _, layer in net.named_layers() if isinstance(layer, BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with net.without_caches():
        net.forward(x)
    for norm, momentum in zip(norms, before):
        norm.momentum = momentum
    return net.eval()
