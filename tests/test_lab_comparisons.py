"""Nets that differ in one thing: their start, or the factor on their shortcuts."""

import numpy as np

from minires.lab.fading.measure import falling, set_shortcuts, with_scaled_shortcuts
from minires.lab.start.measure import as_identity
from minires.networks import cifar_plain, cifar_resnet

SMALL = "--data synthetic --steps 3 --batch-size 8 --images 8 --out out"


def test_a_convolution_that_begins_as_the_identity_hands_on_its_channels():
    net = as_identity(cifar_plain(8, rng=0), noise=0)
    x = np.random.default_rng(0).standard_normal((2, 16, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(net.stage1[0].conv1.forward(x), x)
    y = net.stage2[0].conv1.forward(x)  # as option A: every second pixel, in the channels in the middle
    np.testing.assert_array_equal(y, np.pad(x[:, :, ::2, ::2], ((0, 0), (8, 8), (0, 0), (0, 0))))
    half, he = as_identity(cifar_plain(8, rng=0)), cifar_plain(8, rng=0)
    difference = half.stage1[0].conv1.weight.data - 0.5 * he.stage1[0].conv1.weight.data
    np.testing.assert_allclose(difference[:, :, 1, 1], np.eye(16), atol=1e-6)


def test_the_factor_on_the_shortcuts_leads_from_residual_to_plain():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    net = with_scaled_shortcuts(cifar_resnet(8, rng=0))
    np.testing.assert_array_equal(net.forward(x), cifar_resnet(8, rng=0).forward(x))
    set_shortcuts(net, 0)
    np.testing.assert_array_equal(net.forward(x), cifar_plain(8, rng=0).forward(x))
    assert [falling(part) for part in (0, 1 / 3, 0.5, 2 / 3, 1)] == [1, 1, 0.5, 0, 0]


def test_the_command_that_compares_starts(lab):
    assert lab.run(f"start {SMALL} --depths 8 --noise 0.5 --seeds 0 1") == 0
    assert list(lab.numbers) == ["plain-8", "plain-8, I + 0.5 He", "resnet-8"]
    assert len(lab.numbers["plain-8"]) == 2 and lab.numbers["resnet-8"][0]["before"]["growth"] > 0
    errors = lab.figures["start"].axes[2].lines[1].get_ydata()
    np.testing.assert_allclose(errors, [100 * one["training"] for one in lab.numbers["plain-8, I + 0.5 He"]])


def test_the_command_that_fades_shortcuts(lab):
    assert lab.run(f"fading {SMALL} --depths 8 --factors 0 1 --fade") == 0
    assert list(lab.numbers["8"]) == [f"resnet-8, lambda {way}" for way in ("0", "1", "from 1 to 0")]
    _, kept, faded = (seeds[0] for seeds in lab.numbers["8"].values())
    assert len(kept["errors"]) == 3 and kept["errors"][0] == faded["errors"][0] and kept["before"]["growth"] > 0
    assert lab.run("fading --data synthetic --steps 0 --depths 8 --out out") == 0 and lab.numbers["8"]
