"""All 2^n paths of the gradient, one by one."""

import numpy as np
import pytest
from lab_commands import refused

from minires.lab.paths.measure import blocks_of, gradient_by_length, path_gradient
from minires.lab.spectrum.measure import every_path_gradient, spectrum
from minires.networks import cifar_resnet

SMALL = "--data synthetic --steps 3 --batch-size 8 --images 8 --out out"


@pytest.fixture
def batch():
    return np.random.default_rng(0).standard_normal((3, 3, 8, 8)), np.array([1, 5, 9])


def test_every_path_is_followed_and_the_spectrum_adds_them_up(batch):
    net = cifar_resnet(8, rng=0).astype(np.float64)
    every, lengths = every_path_gradient(net, *batch)
    assert lengths.tolist() == [0, 1, 1, 2, 1, 2, 2, 3]
    paths = [block.path for block in blocks_of(net)]  # the first block is the last to part the gradient
    for i, gradient in enumerate(every):
        through = [path for bit, path in zip((4, 2, 1), paths) if i & bit]
        np.testing.assert_allclose(gradient, path_gradient(net, *batch, through), rtol=1e-9, atol=1e-14)
    found, parts = spectrum(net, *batch), gradient_by_length(net, *batch)
    np.testing.assert_allclose(found.together, np.linalg.norm(parts.reshape(4, -1), axis=1), rtol=1e-9)
    assert found.coherence[[0, 3]] == pytest.approx(1) and np.all(found.coherence < 1 + 1e-12)
    with pytest.raises(ValueError, match="at most 12 blocks, got 27"):
        every_path_gradient(cifar_resnet(56, rng=0), *batch)


def test_the_command_that_draws_the_spectrum(lab, capsys):
    assert lab.run(f"spectrum {SMALL} --depths 8 --seeds 0 1") == 0
    assert {row["step"] for row in lab.numbers} == {0, 3} and len(lab.numbers[0]["together"]) == 4
    assert refused(capsys, lab.run(f"spectrum {SMALL} --depths 56"), "at most 12 blocks")
