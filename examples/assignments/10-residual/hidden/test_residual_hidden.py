"""Hidden tests of assignment 10."""

import numpy as np
import pytest

from minires import softmax_cross_entropy
from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "residual.py")


def test_task_10_1_with_a_shortcut_that_is_a_layer():
    residual, x = mine.Residual(mine.branch(seed=1), mine.branch(seed=2)), seeded(11).normal(size=(2, 2, 4, 4))
    expected = mine.branch(seed=1).forward(x) + mine.branch(seed=2).forward(x)
    np.testing.assert_allclose(residual.forward(x), expected, rtol=1e-9)


def test_task_10_1_the_derivative_with_a_shortcut():
    residual = mine.Residual(mine.branch(seed=1), mine.branch(seed=2))
    check_layer(residual, seeded(12).normal(size=(1, 2, 4, 3)), comparisons=150)


def test_task_10_1_all_parameters_are_found():
    residual = mine.Residual(mine.branch(), mine.branch())
    x = seeded(17).normal(size=(1, 2, 3, 3))
    residual.backward(residual.forward(x) - x)
    assert len(residual.parameters()) == 4 and all(np.any(parameter.grad) for parameter in residual.parameters())


@pytest.mark.parametrize("shape, stride", [((1, 2, 7, 5), 2), ((2, 3, 6, 6), 3), ((1, 1, 4, 4), 1)])
def test_task_10_2_other_images_and_strides(shape, stride):
    x = seeded(13).normal(size=shape)
    y = mine.ShortcutA(5, stride).forward(x)
    np.testing.assert_array_equal(y[:, : shape[1]], x[:, :, ::stride, ::stride])
    assert y.shape[1] == 5 and not np.any(y[:, shape[1] :])
    check_layer(mine.ShortcutA(5, stride), x, comparisons=100)


def test_task_10_3_a_block_of_one_shape_has_no_shortcut():
    count = sum(p.data.size for p in mine.block(4, 4, 1, "B").parameters())
    assert count == 2 * 4 * 4 * 9 + 4 * 4


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_task_10_3_relu_comes_after_the_sum(shortcut):
    block = mine.block(2, 2, 1, shortcut).eval()
    for name, parameter in block.named_parameters():
        parameter.data[...] = -1 if name.endswith("bias") else 0  # the branch gives -1 for every x
    x = np.float32(3 * seeded(14).normal(size=(1, 2, 4, 4)))
    np.testing.assert_allclose(block.forward(x), np.maximum(x - 1, 0), rtol=1e-6)


def test_task_10_3_the_derivative_of_a_block():
    check_layer(mine.block(2, 3, 2, "B", 3), seeded(15).normal(size=(2, 2, 4, 4)), comparisons=100, modes="train")


def test_task_10_4_shortcut_b_has_2752_more():
    assert sum(p.data.size for p in mine.resnet20("B").parameters()) == 269_722 + 16 * 32 + 32 * 64 + 2 * 32 + 2 * 64


def test_task_10_4_a_few_steps_learn_images_by_heart():
    net, rng = mine.resnet20(seed=3), seeded(16)
    x, labels = np.float32(rng.normal(size=(10, 3, 8, 8))), np.arange(10)
    losses = []
    for _ in range(8):
        loss, dlogits = softmax_cross_entropy(net.forward(x), labels)
        losses.append(loss)
        net.zero_grad()
        net.backward(dlogits)
        for parameter in net.parameters():
            parameter.data -= np.float32(0.05) * parameter.grad
    assert losses[-1] < 0.8 * losses[0], f"the loss went from {losses[0]:.2f} to {losses[-1]:.2f}"


def test_task_10_4_images_shrink_twice():
    shapes = mine.image_sizes(mine.resnet20().eval(), np.zeros((1, 3, 16, 16), np.float32))
    images = [shape[1:] for shape in shapes if len(shape) == 4]
    assert images[0] == (16, 16, 16) and (64, 4, 4) in images


def test_task_10_4_every_convolution_has_its_own_start():
    weights = [p.data for p in mine.resnet20(seed=4).parameters() if p.data.shape == (16, 16, 3, 3)]
    assert len(weights) == 6 and not any(np.array_equal(weights[0], other) for other in weights[1:])
