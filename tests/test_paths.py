"""A residual net is the sum of its paths; blocks go and come back without a trace."""

from itertools import chain, combinations

import numpy as np
import pytest
from lab_commands import drawn

from minires.data import Dataset
from minires.lab.paths.measure import (
    RandomBlocks,
    blocks_of,
    delete_each,
    delete_some,
    deleted,
    effective_lengths,
    gradient_by_length,
    kendall_tau,
    path_gradient,
    path_lengths,
    reorder_some,
    reordered,
    sample_path_gradients,
)
from minires.losses import softmax_cross_entropy
from minires.networks import cifar_plain, cifar_resnet, network
from minires.optim import SGD
from minires.train import evaluate, train


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 3, 8, 8)).astype(np.float32), np.array([1, 5, 9])


@pytest.fixture
def images():
    rng = np.random.default_rng(1)
    return Dataset(rng.integers(0, 255, (30, 3, 8, 8)).astype(np.uint8), rng.integers(0, 10, 30), [*"abcdefghij"])


def moved(net, seed=0):
    """Running statistics and gains as of a net that has been trained."""
    rng = np.random.default_rng(seed)
    for name, array in net.state_dict().items():
        if "bn" in name or ".shortcut.1." in name:
            net.load_state_dict({name: rng.uniform(0.5, 1.5, array.shape)}, strict=False)
    return net


def whole_gradient(net, x, labels):
    _, dlogits = softmax_cross_entropy(net.forward(x), labels)
    return net.backward(dlogits)


def every_path(net):
    paths = [block.path for block in blocks_of(net)]
    return list(chain.from_iterable(combinations(paths, k) for k in range(len(paths) + 1)))


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_the_gradients_of_all_paths_sum_to_the_whole_gradient(shortcut, mode, batch):
    net = moved(cifar_resnet(8, shortcut, rng=0)).astype(np.float64).train(mode == "train")
    x, labels = batch[0].astype(np.float64), batch[1]
    paths = every_path(net)
    assert len(paths) == 2**3
    parts = [path_gradient(net, x, labels, through) for through in paths]
    assert all(np.any(part) for part in parts)
    np.testing.assert_allclose(sum(parts), whole_gradient(net, x, labels), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_gradient_by_length_is_the_sum_over_the_paths_of_that_length(mode, batch):
    net = moved(cifar_resnet(8, rng=0)).astype(np.float64).train(mode == "train")
    x, labels = batch[0].astype(np.float64), batch[1]
    parts = gradient_by_length(net, x, labels)
    assert parts.shape == (4, *x.shape)
    for k, part in enumerate(parts):
        of_length = [path_gradient(net, x, labels, through) for through in every_path(net) if len(through) == k]
        np.testing.assert_allclose(part, sum(of_length), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(parts.sum(axis=0), whole_gradient(net, x, labels), rtol=1e-9, atol=1e-12)


def test_the_longest_path_is_that_of_a_net_without_shortcuts_backward(batch):
    net = cifar_resnet(8, rng=0).eval()
    norms = sample_path_gradients(net, *batch, samples=5)
    every = [block.path for block in blocks_of(net)]
    assert [len(norms[k]) for k in range(4)] == [1, 3, 3, 1]  # no more than there are
    assert norms[3][0] == pytest.approx(np.linalg.norm(path_gradient(net, *batch, every)), rel=1e-5)
    assert norms[0][0] == pytest.approx(np.linalg.norm(path_gradient(net, *batch, [])), rel=1e-5)


def test_following_paths_leaves_the_net_as_it_was(batch):
    net = cifar_resnet(8, rng=0)
    before = net.state_dict()
    path_gradient(net, *batch, ["stage1.0"])
    sample_path_gradients(net, *batch, samples=1)
    gradient_by_length(net.eval(), *batch)
    assert all(np.array_equal(before[name], array) for name, array in net.state_dict().items())
    assert not any(np.any(parameter.grad) for parameter in net.parameters())
    assert not any({"forward", "backward"} & set(vars(layer)) for _, layer in net.named_layers())


def test_there_are_two_to_the_n_paths_and_most_are_of_middling_length():
    share = path_lengths(54)  # of ResNet-110
    assert len(blocks_of(cifar_resnet(110, rng=0))) == 54 and len(share) == 55
    assert share.sum() == pytest.approx(1, abs=1e-12) and share[1] * 2**54 == 54
    assert round(100 * share[19:36].sum()) == 98
    assert round(100 * share[5:18].sum(), 2) == 0.45


def test_paths_of_few_random_blocks_have_the_lengths_that_are_effective_in_deep_nets_only():
    assert path_lengths(23)[5:18].sum() > 0.98  # of ResNet-110's 54 blocks
    assert path_lengths(12)[3:12].sum() > 0.98  # of resnet-56's 27
    assert path_lengths(4)[3:8].sum() < 0.32  # of resnet-20's 9


def test_effective_lengths_are_the_shortest_run_that_carries_the_part():
    assert effective_lengths([0, 1, 5, 3, 1, 0], 0.8) == (2, 3)
    assert effective_lengths([1, 1, 1], 0.99) == (0, 2)
    assert effective_lengths([0, 0, 1], 0.5) == (2, 2)


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_a_deleted_residual_block_is_its_shortcut(shortcut, batch):
    net, x = moved(cifar_resnet(8, shortcut, rng=0)).eval(), batch[0]
    with deleted(net, ["stage2.0"]):
        y = net.forward(x)
    by_hand = net.stage1.forward(net.relu.forward(net.bn1.forward(net.conv1.forward(x))))
    by_hand = net.stage2[0].relu.forward(net.stage2[0].residual.shortcut.forward(by_hand))
    by_hand = net.linear.forward(net.pool.forward(net.stage3.forward(by_hand)))
    np.testing.assert_array_equal(y, by_hand)
    assert not np.array_equal(y, net.forward(x))


def test_a_deleted_branch_of_zeros_changes_nothing(batch):
    net = moved(cifar_resnet(8, rng=0)).eval()
    bn = net.stage1[0].residual.branch.bn2
    bn.weight.data[...] = bn.bias.data[...] = 0
    with deleted(net, "stage1.0"):
        y = net.forward(batch[0])
    np.testing.assert_array_equal(y, net.forward(batch[0]))


def test_a_plain_net_without_its_blocks_is_stem_and_classifier(batch):
    net, x = cifar_plain(8, rng=0).eval(), batch[0]
    with deleted(net, [block.path for block in blocks_of(net)]):
        y = net.forward(x)
    stem = net.relu.forward(net.bn1.forward(net.conv1.forward(x)))[:, :, ::4, ::4]
    pooled = np.pad(stem.mean(axis=(2, 3)), ((0, 0), (24, 24)))
    np.testing.assert_allclose(y, net.linear.forward(pooled), rtol=1e-4, atol=1e-6)


def test_gradients_flow_past_a_deleted_block(batch):
    net = cifar_resnet(8, rng=0)
    with deleted(net, "stage2.0"):
        whole_gradient(net, *batch)
    assert not np.any(net.stage2[0].residual.branch.conv1.weight.grad)
    assert np.any(net.stage1[0].residual.branch.conv1.weight.grad)


def test_blocks_are_there_again_after_an_error(batch):
    net = cifar_resnet(8, rng=0)
    with pytest.raises(ZeroDivisionError), deleted(net, ["stage1.0", "stage3.0"]):
        raise ZeroDivisionError
    assert not any({"forward", "backward"} & set(vars(layer)) for _, layer in net.named_layers())
    with pytest.raises(KeyError, match="no block 'stage4.0'; the blocks are stage1.0, stage2.0"):
        with deleted(net, ["stage4.0"]):
            pass


def test_blocks_change_places(batch):
    net, x = moved(cifar_resnet(20, rng=0)).eval(), batch[0]
    with reordered(net, [0, 2, 1, 3, 4, 5, 6, 7, 8]):
        y = net.forward(x)
    second, third = net.stage1[1], net.stage1[2]
    setattr(net.stage1, "1", third)
    setattr(net.stage1, "2", second)
    np.testing.assert_array_equal(y, net.forward(x))
    with pytest.raises(ValueError, match="a permutation of 0 to 8"):
        with reordered(net, [0, 0]):
            pass


@pytest.mark.parametrize("order, tau", [([0, 1, 2, 3], 1), ([3, 2, 1, 0], -1), ([1, 0, 2, 3], 4 / 6), ([0], 1)])
def test_kendalls_tau_counts_pairs(order, tau):
    assert kendall_tau(order) == pytest.approx(tau)


@pytest.mark.parametrize("build", [cifar_plain, cifar_resnet])
def test_lesions_measure_the_net_without_the_blocks(build, images):
    net = moved(build(20, rng=0))
    errors = delete_each(net, images)
    assert list(errors) == ["", *(block.path for block in blocks_of(net))]
    with deleted(net, "stage2.1"):
        assert errors["stage2.1"] == evaluate(net, images)[0]
    some = delete_some(net, images, [0, 9], draws=2)
    assert some[0] == [errors[""]] * 2 and len(set(some[9])) == 1  # none, and all: nothing left to draw
    moves = reorder_some(net, images, [0, 3], draws=2)
    assert moves[:2] == [(1.0, errors[""])] * 2 and all(tau < 1 for tau, _ in moves[2:])


def test_a_net_too_shallow_to_reorder_and_one_without_blocks_are_named(images):
    with pytest.raises(ValueError, match="no two blocks of a stage"):
        reorder_some(cifar_resnet(8, rng=0), images, [1])
    with pytest.raises(ValueError, match="no layers called stage1.0"):
        blocks_of(cifar_resnet(8, rng=0).stage1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda net, x, labels: path_gradient(net, x, labels, []),
        sample_path_gradients,
        gradient_by_length,
        lambda net, x, labels: RandomBlocks(net, 1),
    ],
    ids=["one path", "sampled paths", "by length", "random blocks"],
)
def test_only_blocks_that_are_branch_plus_shortcut_have_paths(ask, batch):
    for name, why in (
        ("plain-8", "stage1.0 has none, and so a single path"),
        ("highway-11", "stage1.0 has none"),
        ("stochastic-depth-8", "stage1.0 multiplies its branch by a number"),
    ):
        with pytest.raises(ValueError, match=f"expected blocks that are branch \\+ shortcut; {why}"):
            ask(network(name, rng=0).eval(), *batch)


def test_mistakes_with_blocks_and_numbers_are_one_line(batch, images):
    net = cifar_resnet(20, rng=0).eval()
    with pytest.raises(ValueError, match="delete_some: expected counts, a whole number from 0 to 9, got .*10"):
        delete_some(net, images, [1, 10])
    with pytest.raises(ValueError, match="reorder_some: expected swaps, a whole number of at least 0, got -1"):
        reorder_some(net, images, [-1])
    with pytest.raises(ValueError, match="expected samples, a whole number of at least 1, got 0"):
        sample_path_gradients(net, *batch, samples=0)
    with pytest.raises(ValueError, match="expected keep, a whole number from 1 to 9, got 10. The net has 9 blocks"):
        RandomBlocks(net, 10)
    with pytest.raises(ValueError, match="path_lengths: expected n, a whole number of at least 0, got 2.5"):
        path_lengths(2.5)
    with pytest.raises(ValueError, match="effective_lengths: expected weights, a part above 0 and up to 1"):
        effective_lengths([1, 2], 95)
    with pytest.raises(KeyError, match="path_gradient: no block 'stage4.0'; the blocks are stage1.0, stage1.1"):
        path_gradient(net, *batch, "stage4.0")
    with pytest.raises(KeyError, match="deleted: no block 3; the blocks are stage1.0"), deleted(net, 3):
        pass
    with pytest.raises(ValueError, match="expected labels of shape"):
        gradient_by_length(net, batch[0], None)
    assert delete_some(net, images, 0, draws=1) == {0: [evaluate(net, images)[0]]}  # one number will do


def test_each_training_step_uses_as_many_blocks_as_asked(batch):
    net = RandomBlocks(cifar_resnet(20, rng=0), keep=4, rng=0)
    seen = set()
    for _ in range(6):
        net.zero_grad()
        whole_gradient(net, *batch)
        used = tuple(b.path for b in blocks_of(net) if any(np.any(p.grad) for p in b.residual.branch.parameters()))
        assert len(used) == 4
        seen.add(used)
    assert len(seen) > 1
    assert not any({"forward", "backward"} & set(vars(layer)) for _, layer in net.named_layers())


def test_in_evaluation_all_blocks_act_in_proportion(batch):
    net = moved(cifar_resnet(8, rng=0)).eval()
    np.testing.assert_allclose(RandomBlocks(net, keep=3).eval().forward(batch[0]), net.forward(batch[0]), rtol=1e-5)
    some = RandomBlocks(net, keep=1).eval().forward(batch[0])
    for block in blocks_of(net):
        for parameter in (block.residual.branch.bn2.weight, block.residual.branch.bn2.bias):
            parameter.data /= 3
    np.testing.assert_allclose(some, net.forward(batch[0]), rtol=1e-4)


def test_random_blocks_can_be_trained_and_saved(images):
    net = RandomBlocks(cifar_resnet(8, rng=0), keep=2, rng=0)
    log = train(net, SGD(net.parameters(), lr=0.05, momentum=0.9), images, images, steps=4, batch_size=10, bar=False)
    assert log[-1]["kind"] == "test" and 0 <= log[-1]["error"] <= 1


SMALL = "paths --data synthetic --steps 1 --batch-size 10 --paths 1 --effective-steps 1 --out out"


def test_the_command_deletes_follows_and_trains(images, lab, capsys):
    lab.use(images, images)
    assert lab.run(f"{SMALL} --depths 20") == 0
    out = capsys.readouterr().out
    assert "plain-20: test error" in out and "9 blocks, 2^9 paths of 4.5 branches on average" in out
    assert list(lab.numbers["effective"]) == [
        "1 step, all blocks", "1 step, 4 of 9 random blocks", "2 steps, 4 of 9 random blocks"]  # fmt: skip
    assert "2 steps, 4 of 9 random blocks: training error" in out
    found = lab.numbers["resnet-20"]
    assert len(found["paths"]["sum"]) == 10
    one, some, swapped = lab.figures["lesions"].axes
    deleted_alone = [100 * error for path, error in found["one"].items() if path]
    np.testing.assert_allclose(drawn(one)["resnet-20"], deleted_alone)
    np.testing.assert_allclose(swapped.lines[1].get_xydata().T, [*zip(*((tau, 100 * e) for tau, e in found["orders"]))])
    sums = np.array(found["paths"]["sum"])
    share = drawn(lab.figures["paths-resnet-20"].axes[2])["size of their sum"]
    np.testing.assert_allclose(share, 100 * sums / sums.sum())


def test_shallow_nets_and_several_depths_are_measured_without_what_they_have_not(images, lab, capsys):
    lab.use(images, images)
    assert lab.run(f"{SMALL} --depths 8 14 --nets resnet") == 0
    assert "Blocks swapped: none could be" in capsys.readouterr().out
    assert {"paths-resnet-8", "paths-resnet-14", "lesions"} == set(lab.figures)
    colours = [line.get_color() for line in lab.figures["lesions"].axes[0].lines[1::2]]
    assert len(set(colours)) == 2
