"""What to use here for names that PyTorch has and minires has not. docs/coming-from-pytorch.md shows the same table.

Whoever asks an object for such a name gets AttributeError, as for any missing name, but with a sentence.
"""

_NUMPY = "everything here is a NumPy array in main memory and runs on the CPU: leave it out"
_ON_CPU = {"cuda": _NUMPY, "cpu": _NUMPY, "to": f"{_NUMPY}; another dtype: net.astype(np.float64)", "device": _NUMPY}
_CHOSEN = "give the optimizer only the parameters it shall change"
_BY_HAND = "gradients are computed by net.backward(dlogits), with no graph behind: leave it out"

INSTEAD = {  # of what: {PyTorch's name: what to use}
    "minires": {
        "nn": "the layers are in minires itself: minires.Conv2d, minires.Linear; write your own as a minires.Layer",
        "Module": "use minires.Layer",
        "Tensor": "use NumPy arrays, and minires.Parameter for what is trained",
        "tensor": "use np.array(..., np.float32)",
        "from_numpy": _NUMPY,
        "no_grad": "use `with net.evaluating():`, or `with net.without_caches():` to keep the mode",
        "cuda": _NUMPY,
        "device": _NUMPY,
        "autograd": "every layer has a backward written by hand; minires.check_layer compares it with slopes",
        "manual_seed": "hand rng=0 to each network, layer and function that draws random numbers",
        "functional": "layers are objects; the losses are functions: minires.softmax_cross_entropy",
        "CrossEntropyLoss": "use loss, dlogits = minires.softmax_cross_entropy(logits, labels)",
        "MSELoss": "use loss, dprediction = minires.mean_squared_error(prediction, target)",
        "DataLoader": "use minires.data.batches(dataset, batch_size, rng)",
        "Dataset": "use minires.data.Dataset",
        "save": "use minires.checkpoint.save_checkpoint(path, net, optimizer)",
        "load": "use minires.checkpoint.load_checkpoint, or minires.weights.load_weights for files of PyTorch",
    },
    "Layer": {
        **_ON_CPU,
        "float": "use net.astype(np.float32)",
        "double": "use net.astype(np.float64)",
        "half": "float32 and float64 are what layers compute in: net.astype(np.float32)",
        "modules": "use [layer for _, layer in net.named_layers()]",
        "named_modules": "use net.named_layers()",
        "named_children": "use net.children(), which gives pairs (name, layer)",
        "buffers": "a Buffer is among the attributes; net.state_dict() holds the arrays",
        "named_buffers": "a Buffer is among the attributes; net.state_dict() holds the arrays",
        "register_buffer": "assign it: self.running_mean = Buffer(array)",
        "register_parameter": "assign it: self.weight = Parameter(array)",
        "add_module": "assign it: self.name = layer",
        "register_forward_hook": "use `with Probe(net) as probe:`, then probe.y[path]",
        "register_full_backward_hook": "use `with Probe(net) as probe:`, then probe.dy[path]",
        "requires_grad_": f"{_CHOSEN}; layer.eval() freezes statistics",
        "apply": "use a loop: for path, layer in net.named_layers()",
    },
    "Parameter": {
        **_ON_CPU,
        "numpy": "it is parameter.data already",
        "item": "use float(parameter.data[index])",
        "numel": "use parameter.size",
        "dim": "use parameter.ndim",
        "detach": _BY_HAND,
        "requires_grad": _CHOSEN,
        "requires_grad_": _CHOSEN,
        "zero_": "use parameter.data.fill(0), or net.zero_grad() for gradients",
        "fill_": "use parameter.data.fill(value)",
        "copy_": "use parameter.data[...] = array",
    },
    "loss": {
        "backward": "a loss comes with its gradient: loss, dlogits = ...; then net.backward(dlogits)",
        "item": "the first of the two is a float: loss, dlogits = ...",
        "detach": _BY_HAND,
    },
    "optimizer": {
        "param_groups": "use optimizer.groups, or optimizer.lr for the learning rate",
        "add_param_group": "make the optimizer with all groups: SGD([{'parameters': ...}, ...])",
    },
}


def no_attribute(owner, kind, name):
    """Return the AttributeError for ``owner.name``; ``kind`` is a key of ``INSTEAD``."""
    has = f"module {owner.__name__!r}" if kind == "minires" else f"{type(owner).__name__!r} object"
    hint = INSTEAD[kind].get(name)
    return AttributeError(f"{has} has no attribute {name!r}" + (f": {hint}." if hint else ""), name=name, obj=owner)


def explained(kind):
    """Return a ``__getattr__`` for a class of this kind, which raises that error."""

    def __getattr__(owner, name):
        raise no_attribute(owner, kind, name)

    return __getattr__
