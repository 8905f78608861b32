"""Trained networks measured as their checkpoints hold them, on the images they were trained on."""

import re
from typing import NamedTuple

from minires.checkpoint import load_checkpoint, load_inputs
from minires.data import batches, find_cifar10, load_cifar10, synthetic
from minires.data.dataset import fingerprint
from minires.lab.responses.measure import layer_responses
from minires.networks import cifar_plain, cifar_resnet, network
from minires.probe import gradient_flow


class Measured(NamedTuple):
    """What the checkpoints of some runs showed, by the key of the run."""

    flows: dict  # gradient_flow on training images, in training mode
    responses: dict  # layer_responses on test images, in evaluation mode
    steps: dict  # of training, when the checkpoint was written
    missing: list  # sentences: what was not measured, and why


def measure(runs, images, found):
    """Send images through every network that has a checkpoint; return ``Measured``. Of several seeds the first counts.

    Parameters
    ----------
    runs : list of Trained
    images : int
        How many images; 0: nothing is measured.
    found : FoundImages
    """
    measured, chosen = Measured({}, {}, {}, []), {}
    for run in sorted(runs, key=lambda run: not run.finished):
        if (run.folder / "checkpoint.npz").exists():
            chosen.setdefault(run.key, run)
    if not images:
        measured.missing.append("Nothing was measured, as no images were asked for.")
        return measured
    without = dict.fromkeys(run.name for run in runs if run.key not in chosen)
    if without:
        measured.missing.append(f"Not measured, as there is no checkpoint.npz: {', '.join(without)}.")
    for key in dict.fromkeys(run.key for run in runs if run.key in chosen):
        run = chosen[key]
        try:
            train_set, test_set = found.images_of(run)
            net, normalise = network_of(run), run.config.get("normalise", "pixel_mean")
            progress = load_checkpoint(run.folder / "checkpoint.npz", net)
            flow = gradient_flow(net, *next(batches(train_set, images, normalise=normalise)))
            responses = layer_responses(net.eval(), next(batches(test_set, images, normalise=normalise))[0])
        except ValueError as error:  # no images, a damaged checkpoint, a net without stages
            why = str(error) if isinstance(error, NotFound) else f"{run.name} was not measured. {error}"
            if why not in measured.missing:
                measured.missing.append(why)
            continue
        measured.flows[key], measured.responses[key], measured.steps[key] = flow, responses, progress.get("step", 0)
    return measured


def network_of(run):
    """Return a net of the kind that a run trained, by its name."""
    checkpoint, (family, depth) = run.folder / "checkpoint.npz", run.key
    try:
        inputs = load_inputs(checkpoint) if checkpoint.exists() else None
    except ValueError:  # damaged; whoever loads its weights will hear of it
        inputs = None
    sizes = {"classes": len(inputs["classes"]) if inputs else 10}
    if inputs and len(inputs["normalisation"][1]) != 3:
        sizes["in_channels"] = len(inputs["normalisation"][1])
    if family in ("plain", "resnet"):  # of any depth: to network(), resnet-50 is ImageNet's
        return (cifar_plain if family == "plain" else cifar_resnet)(depth, **sizes, rng=0)
    return network(run.name, **sizes, rng=0)


class NotFound(ValueError):
    """Images that cannot be had; the message is a sentence."""


class FoundImages:
    """Finds the images of runs again, once for all runs that share them. Nothing is downloaded.

    Parameters
    ----------
    data_dir, data_file
        Where CIFAR-10 is, as for ``load_cifar10``.
    """

    def __init__(self, data_dir=None, data_file=None):
        self.place, self.found = (data_dir, data_file), {}

    def images_of(self, run):
        """Return (training set, test set), the very ones that ``run.json`` describes."""
        wanted = tuple(str(run.config.get(name)) for name in ("data", "train_set", "test_set"))
        if wanted not in self.found:
            self.found[wanted] = self._look_for(*wanted)
        return self.found[wanted]

    def _look_for(self, data, *prints):
        sizes = [int(text.split()[0]) for text in prints if re.match(r"\d+ images", text)]
        if len(sizes) < 2 or not data.startswith(("synthetic", "CIFAR-10")):
            raise NotFound("Not measured: run.json does not say on which images, or on some that minires cannot find.")
        if data.startswith("synthetic"):
            known = [synthetic(*sizes), synthetic()]
        elif any(self.place) or find_cifar10():
            known = [load_cifar10(*self.place)]
        else:
            raise NotFound(
                "Not measured, as CIFAR-10 is not on this disk: minires data fetches it, and --data-dir or --data-file "
                "says where it is."
            )
        for train_set, _ in list(known):  # or a part of the training images was kept for tests
            if len(train_set) >= sum(sizes):
                known.append((train_set[: sizes[0]], train_set[sizes[0] : sum(sizes)]))
        for pair in known:
            if tuple(map(fingerprint, pair)) == prints:
                return pair
        raise NotFound(
            f"Not measured, as the images found here ({fingerprint(known[0][0])}) are not those of the runs "
            f"({prints[0]})."
        )
