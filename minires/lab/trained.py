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


def measure(runs, images, find):
    """Send so many images through every network that has a checkpoint; return ``Measured``.

    ``runs`` are a list of ``Trained``, of several seeds the first counts; ``find`` is ``find_images`` of some place.
    """
    measured, chosen = Measured({}, {}, {}, []), {}
    if not images:
        measured.missing.append("Nothing was measured, as no images were asked for.")
        return measured
    for run in sorted(runs, key=lambda run: not run.finished):
        if (run.folder / "checkpoint.npz").exists():
            chosen.setdefault(run.key, run)
    without = dict.fromkeys(run.name for run in runs if run.key not in chosen)
    if without:
        measured.missing.append(f"Not measured, as there is no checkpoint.npz: {', '.join(without)}.")
    for key in dict.fromkeys(run.key for run in runs if run.key in chosen):
        run = chosen[key]
        try:
            train_set, test_set = find(*(str(run.config.get(name)) for name in ("data", "train_set", "test_set")))
            net, normalise = network_of(run), run.config.get("normalise", "pixel_mean")
            progress = load_checkpoint(run.folder / "checkpoint.npz", net)
            flow = gradient_flow(net, *next(batches(train_set, images, normalise=normalise)))
            responses = layer_responses(net.eval(), next(batches(test_set, images, normalise=normalise))[0])
        except ValueError as error:  # no images, a damaged checkpoint, a net without stages
            why = str(error) if isinstance(error, NotFound) else f"{run.name} was not measured. {error}"
            measured.missing.extend([why] * (why not in measured.missing))
        else:
            measured.flows[key], measured.responses[key] = flow, responses
            measured.steps[key] = progress.get("step", 0)
    return measured


def network_of(run):
    """Return a net of the kind that a run trained, by its name."""
    checkpoint, (family, depth), sizes = run.folder / "checkpoint.npz", run.key, {"classes": 10}
    try:
        inputs = load_inputs(checkpoint) if checkpoint.exists() else None
    except ValueError:  # damaged; whoever loads its weights will hear of it
        inputs = None
    if inputs:
        channels = len(inputs["normalisation"][1])
        sizes = {"classes": len(inputs["classes"])} | ({} if channels == 3 else {"in_channels": channels})
    if family in ("plain", "resnet"):  # of any depth: to network(), resnet-50 is ImageNet's
        return (cifar_plain if family == "plain" else cifar_resnet)(depth, **sizes, rng=0)
    return network(run.name, **sizes, rng=0)


class NotFound(ValueError):
    """Images that cannot be had; the message is a sentence."""


def find_images(place, data, *prints):
    """Return (training set, test set), the very ones that ``run.json`` describes in these words. Nothing is downloaded.

    ``place``: data_dir and data_file, where CIFAR-10 is, as for ``load_cifar10``.
    """
    sizes = [int(text.split()[0]) for text in prints if re.match(r"\d+ images", text)]
    if len(sizes) < 2 or not data.startswith(("synthetic", "CIFAR-10")):
        raise NotFound("Not measured: run.json does not say on which images, or on some that minires cannot find.")
    if data.startswith("synthetic"):
        known = [synthetic(*sizes), synthetic()]
    elif any(place) or find_cifar10():
        known = [load_cifar10(*place)]
    else:
        where = "minires data fetches it, and --data-dir or --data-file says where it is"
        raise NotFound(f"Not measured, as CIFAR-10 is not on this disk: {where}.")
    # Or a part of the training images was kept for tests.
    known += [(whole[: sizes[0]], whole[sizes[0] : sum(sizes)]) for whole, _ in known if len(whole) >= sum(sizes)]
    for pair in known:
        if tuple(map(fingerprint, pair)) == prints:
            return pair
    here = fingerprint(known[0][0])
    raise NotFound(f"Not measured, as the images found here ({here}) are not those of the runs ({prints[0]}).")
