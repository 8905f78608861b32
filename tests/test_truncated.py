"""The gradient of short paths alone: which weights get it, and how much."""

from functools import partial

import numpy as np
import pytest
from lab_commands import drawn, refused

from minires.lab.paths.measure import blocks_of, gradient_by_length, in_parts, one_longer, replaced
from minires.lab.truncated.measure import ShortPaths
from minires.losses import softmax_cross_entropy
from minires.networks import cifar_resnet

SMALL = "--data synthetic --steps 3 --batch-size 8 --images 8 --out out"


@pytest.fixture
def batch():
    return np.random.default_rng(0).standard_normal((3, 3, 8, 8)), np.array([1, 5, 9])


def gradients(net, x, labels):
    """{name: gradient} of the parameters, and under "x" that of the images."""
    _, dlogits = softmax_cross_entropy(net.forward(x), labels)
    dx = net.zero_grad().backward(dlogits)
    return {"x": dx} | {name: parameter.grad.copy() for name, parameter in net.named_parameters()}


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_in_parts_of_every_length_the_gradient_is_the_whole_one(shortcut, batch):
    net, (x, labels) = cifar_resnet(8, shortcut, rng=0).astype(np.float64), batch
    whole = gradients(net, *batch)
    _, dlogits = softmax_cross_entropy(net.forward(x), labels)
    net.zero_grad()
    with in_parts(net, len(x), partial(one_longer, len(x), 3)):
        parts = net.backward(dlogits)
    np.testing.assert_allclose(parts.reshape(4, *x.shape).sum(axis=0), whole["x"], rtol=1e-9, atol=1e-14)
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(parameter.grad, whole[name], rtol=1e-9, atol=1e-14)
    assert gradients(ShortPaths(net, 3), *batch).keys() == {"x"} | {f"net.{name}" for name in whole if name != "x"}


@pytest.mark.parametrize("most", [0, 1, 2])
def test_paths_that_are_too_long_bring_no_gradient(most, batch):
    net = cifar_resnet(8, rng=0).astype(np.float64)
    found, parts = gradients(ShortPaths(net, most), *batch), gradient_by_length(net, *batch)
    np.testing.assert_allclose(found["x"], parts[: most + 1].sum(axis=0), rtol=1e-9, atol=1e-14)
    in_branches = [gradient for name, gradient in found.items() if ".branch." in name and name.endswith("weight")]
    assert all(np.any(gradient) == (most > 0) for gradient in in_branches)
    with pytest.raises(ValueError, match="ShortPaths: expected most, a whole number from 0 to 3, got 4"):
        ShortPaths(net, 4)


def test_a_branch_gets_the_gradient_of_paths_that_end_in_it(batch):
    net = cifar_resnet(8, rng=0).astype(np.float64)
    found = gradients(ShortPaths(net, 1), *batch)
    with_one = [gradients_of_one_path(net, block.path, *batch) for block in blocks_of(net)]
    for block, own in zip(blocks_of(net), with_one):
        name = f"{block.path}.residual.branch.conv1.weight"
        np.testing.assert_allclose(found[f"net.{name}"], own[name], rtol=1e-9, atol=1e-14)


def gradients_of_one_path(net, through, x, labels):
    """The gradients when the shortcuts of all other blocks are the only way back."""
    residuals = [(block.path, block.residual) for block in blocks_of(net)]
    ways = [(one, one.branch if path == through else one.shortcut) for path, one in residuals]
    with replaced((residual, {"backward": way.backward}) for residual, way in ways):
        return gradients(net, x, labels)


def test_the_command_that_truncates_paths_and_takes_the_lengths_that_a_net_has(lab, capsys):
    assert lab.run(f"truncated {SMALL} --depths 8") == 0
    found = lab.numbers["resnet-8"]
    assert len(found["kept"]) == 4 and found["kept"][-1] == pytest.approx(1)
    lines = drawn(lab.figures["truncated-8"].axes[0])
    np.testing.assert_allclose(lines["test"], [100 * found[f"resnet-8, k = {k}"][0]["test"] for k in (0, 1, 2, 3)])
    assert refused(capsys, lab.run(f"truncated {SMALL} --depths 8 --lengths 4"), "from 0 to 3, got 4")
