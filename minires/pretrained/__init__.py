"""Trained networks that come with the package, each as it was before, early in and after its training.

This folder holds, for each of them, files of weights and a card in words: how it was trained, on what, its errors.
``models.json`` is the table of it all. ``python -m minires.pretrained RUN_FOLDER`` makes them from a finished run.
"""

import hashlib
import json
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from minires.checks import is_one_of, is_whole, require, shown
from minires.files import verify
from minires.networks import network
from minires.weights import load_weights

HERE = Path(__file__).parent


def pretrained(name, at="final"):
    """Return a trained network, in evaluation mode; ``net.train()`` lets it learn on.

    Images become x as in its training, by ``load_inputs(weights_file(name))`` of ``minires.checkpoint``.

    Parameters
    ----------
    name : str
        One of ``models()``, such as "resnet-20".
    at : "final", "early" or 0
        After the last step, after an early one, or before the first: the random weights that its training began with.

    Raises
    ------
    ValueError
        When there is no such network or state; the message says which there are.
    """
    about = _about(name)
    net = untrained(name, about["classes"], about["seed"])
    if is_whole(at) and at == 0:
        if digest(net) != about["start"]:
            raise ValueError(f"pretrained: seed {about['seed']} no longer gives the weights that {name} began with.")
    else:
        load_weights(net, weights_file(name, at))
    return net.eval()


def models():
    """Return the table: for each name the seed, the classes, the recipe, and of each state file, step and errors."""
    path = HERE / "models.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def weights_file(name, at="final"):
    """Return the path of the file with the weights of a state, "final" or "early", once its SHA-256 is checked."""
    states = _about(name)["states"]
    require(is_one_of(at, states), "pretrained", f"at as 0, {', '.join(map(repr, states))}", shown(at))
    path = HERE / states[at]["file"]
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: a file that comes with minires. Install it again.")
    verify(path, sha256=states[at]["sha256"], again="install minires again")
    return path


def untrained(name, classes, seed):
    """Return the network as the training begins with it: the first of two streams of random numbers is the net's."""
    return network(name, classes=classes, rng=np.random.default_rng(seed).spawn(2)[0])


def digest(net):
    """Return the SHA-256 of all arrays of a net, in order."""
    found = hashlib.sha256()
    for name, array in net.state_dict().items():
        found.update(f"{name} {array.shape}".encode() + array.astype("<f4").tobytes())
    return found.hexdigest()


def _about(name):
    known = models()
    if not is_one_of(name, known):
        near = get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        there = f"expected one of {', '.join(known)}" if known else "no trained networks come with this copy of minires"
        raise ValueError(f"pretrained: {there}; got {shown(name)}.{hint}")
    return known[name]
