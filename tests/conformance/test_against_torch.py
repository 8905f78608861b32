"""The same weights give the same numbers in PyTorch: logits, gradients, training, running statistics.

Not part of the usual suite, as it needs torch (``pip install -e ".[conformance]"``)::

    python -m pytest tests/conformance

The networks of the other side are written out here as torch modules, with the attributes and hence the names of
torchvision and of akamaster/pytorch_resnet_cifar10. Errors of arrays are relative: |ours - theirs| / |theirs|, in
Euclidean norms over the whole array.

A gradient jumps where a ReLU stands at its kink. Among a million of them some always stand within rounding of it, and
then two right answers in float32 differ by some percent, as either differs from float64. "ordinary" weights, fresh from
their distributions, are therefore compared in float64, where both sides must agree in ten digits; and in float32 with
PyTorch's ReLUs held to the side on which ours stand. With "settled" weights, batch norms put nearly every ReLU five
standard deviations to the one or the other side, and whole trainings in float32 can be compared.
"""

import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from minires.kernels.machine.cores import num_threads
from minires.layer import Parameter
from minires.layers import ReLU
from minires.losses import softmax_cross_entropy
from minires.networks import cifar_resnet
from minires.networks.imagenet import imagenet_resnet
from minires.optim import SGD, Adam, AdamW
from minires.probe import Probe
from minires.weights import foreign_name, load_weights, save_weights

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import convert_torch_weights  # noqa: E402

torch.set_num_threads(num_threads())


# -- the networks in torch ------------------------------------------------------------------------------------


def conv(in_channels, out_channels, size, stride=1):
    return nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=size // 2, bias=False)


def projection(in_channels, out_channels, stride):
    return nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


class Basic(nn.Module):
    """A basic block as in torchvision, names included."""

    expansion = 1

    def __init__(self, in_channels, channels, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(in_channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels, 3), nn.BatchNorm2d(channels)
        self.downsample = projection(in_channels, channels, stride) if in_channels != channels else None

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A bottleneck as in torchvision, the stride on the 3x3 convolution."""

    expansion = 4

    def __init__(self, in_channels, channels, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(in_channels, channels, 1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = conv(channels, 4 * channels, 1), nn.BatchNorm2d(4 * channels)
        self.downsample = projection(in_channels, 4 * channels, stride) if in_channels != 4 * channels else None

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ImageNetResNet(nn.Module):
    def __init__(self, block, blocks, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for i, count in enumerate(blocks):
            layers = []
            for k in range(count):
                layers.append(block(channels, 64 * 2**i, 2 if i > 0 and k == 0 else 1))
                channels = 64 * 2**i * block.expansion
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Subsample(nn.Module):
    """Option A: every second pixel, and a quarter of the new channels of zeros on either side."""

    def __init__(self, channels):
        super().__init__()
        self.around = channels // 4

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.around, self.around))


class CifarBlock(nn.Module):
    def __init__(self, in_channels, channels, stride, option):
        super().__init__()
        self.conv1, self.bn1 = conv(in_channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels, 3), nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if in_channels != channels:
            self.shortcut = Subsample(channels) if option == "A" else projection(in_channels, channels, stride)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class CifarResNet(nn.Module):
    def __init__(self, blocks, option):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 16, 3), nn.BatchNorm2d(16)
        channels = 16
        for i, width in enumerate((16, 32, 64), start=1):
            layers = [CifarBlock(channels, width, 1 if i == 1 else 2, option)]
            layers += [CifarBlock(width, width, 1, option) for _ in range(blocks - 1)]
            setattr(self, f"layer{i}", nn.Sequential(*layers))
            channels = width
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


# -- both sides, with the same weights ------------------------------------------------------------------------

CLASSES = 10
CASES = {  # the net in torch, whose names it has, the net here, and the shape of a batch
    "ResNet-18": (lambda: ImageNetResNet(Basic, (2, 2, 2, 2), CLASSES), "torchvision", 18, (4, 3, 64, 64)),
    "ResNet-50": (lambda: ImageNetResNet(Bottleneck, (3, 4, 6, 3), CLASSES), "torchvision", 50, (4, 3, 64, 64)),
    "CIFAR ResNet-20 A": (lambda: CifarResNet(3, "A"), "akamaster", "A", (8, 3, 32, 32)),
    "CIFAR ResNet-20 B": (lambda: CifarResNet(3, "B"), "akamaster", "B", (8, 3, 32, 32)),
}


class Pair:
    """A network in torch and here, the weights of torch loaded strictly."""

    def __init__(self, name, weights="settled", dtype=np.float32):
        build, self.names, kind, self.shape = CASES[name]
        torch.manual_seed(0)
        self.rng, self.dtype = np.random.default_rng(0), dtype
        self.theirs = build()
        for path, module in self.theirs.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):  # nothing stays 0 or 1, where a mistake would not show
                if weights == "default":
                    pass
                elif weights == "ordinary":
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.uniform_(module.bias, -0.5, 0.5)
                else:
                    nn.init.uniform_(module.weight, 0.1, 0.2)
                    module.bias.data = 0.8 + 0.4 * torch.rand_like(module.bias)
                    if path.count(".") == 2 and not path.endswith("bn3" if kind == 50 else "bn2"):  # off; sums stay on
                        module.bias.data *= torch.where(torch.rand_like(module.bias) < 0.5, -1, 1)
                module.momentum = 1
        self.theirs(torch.from_numpy(self.batch()[0]).float())  # running statistics that fit: those of one batch
        for module in self.theirs.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1
        self.theirs.to(torch.float64 if dtype == np.float64 else torch.float32)
        self.ours = cifar_resnet(20, kind) if isinstance(kind, str) else imagenet_resnet(kind, classes=CLASSES)
        found = load_weights(self.ours.astype(dtype), self.theirs.state_dict())
        assert not found.missing and not found.unexpected

    def batch(self):
        x = self.rng.standard_normal(self.shape).astype(self.dtype)
        return x, self.rng.integers(CLASSES, size=len(x))

    def eval_logits(self, x):
        self.ours.eval(), self.theirs.eval()
        with torch.no_grad():
            return self.ours.forward(x), self.theirs(torch.from_numpy(x)).numpy()

    def backward(self, x, labels, same_side=False):
        """One forward and backward on both sides; return both losses.

        With ``same_side``, a ReLU of torch lets through what ours let through: at most three of 100,000 then differ.
        """
        self.ours.train(), self.theirs.train()
        relus = [path for path, layer in self.ours.named_layers() if isinstance(layer, ReLU)]
        with Probe(self.ours, paths=relus) as probe:
            loss, dlogits = softmax_cross_entropy(self.ours.forward(x), labels)
            self.ours.zero_grad().backward(dlogits)
        on, moved = iter([torch.from_numpy(probe.y[path] > 0) for path in relus]), []

        def relu(z):
            let_through = next(on)
            moved.append(torch.mean((let_through != (z > 0)).double()).item())
            return z * let_through

        with mock.patch.object(F, "relu", relu if same_side else F.relu):
            logits = self.theirs(torch.from_numpy(x))
        assert max(moved, default=0) < 1e-3 and sum(moved) < 3e-5 * len(relus)
        their_loss = F.cross_entropy(logits, torch.from_numpy(labels))
        self.theirs.zero_grad()
        their_loss.backward()
        return loss, their_loss.item()

    def arrays(self, of):
        """Yield (name, ours, theirs): of "grad" or "state"."""
        if of == "grad":
            theirs = {name: parameter.grad for name, parameter in self.theirs.named_parameters()}
            ours = {name: parameter.grad for name, parameter in self.ours.named_parameters()}
        else:
            ours, theirs = self.ours.state_dict(), self.theirs.state_dict()
        for name, array in ours.items():
            yield name, array, theirs[foreign_name(name, self.names)].numpy()

    def worst(self, of):
        """The largest error, and the array that has it."""
        norm = np.linalg.norm
        # A batch norm takes out what a bias adds, where no ReLU is between them: that gradient is 0 but for rounding.
        floor = 1e-3 * max(norm(theirs) for _, _, theirs in self.arrays(of))
        return max((norm(ours - theirs) / max(norm(theirs), floor), name) for name, ours, theirs in self.arrays(of))


@pytest.fixture(params=CASES)
def pair(request):
    return Pair(request.param)


def test_logits_agree(pair):
    ours, theirs = pair.eval_logits(pair.batch()[0])
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_all_gradients_agree(pair):
    loss, their_loss = pair.backward(*pair.batch())
    assert loss == pytest.approx(their_loss, abs=1e-4)
    error, name = pair.worst("grad")
    assert error < 1e-3, name


@pytest.mark.parametrize("name", CASES)
def test_all_gradients_agree_in_float64_with_ordinary_weights(name):
    pair = Pair(name, "ordinary", np.float64)
    loss, their_loss = pair.backward(*pair.batch())
    assert loss == pytest.approx(their_loss, abs=1e-10)
    error, name = pair.worst("grad")
    assert error < 1e-10, name


@pytest.mark.parametrize("weights", ["default", "ordinary"])
@pytest.mark.parametrize("name", CASES)
def test_all_gradients_agree_in_float32_with_fresh_weights_on_the_same_side_of_every_kink(name, weights):
    pair = Pair(name, weights)
    loss, their_loss = pair.backward(*pair.batch(), same_side=True)
    assert loss == pytest.approx(their_loss, abs=1e-4)
    error, name = pair.worst("grad")
    assert error < 1e-3, name


def steps(pair, count):
    """Train both sides on the same batches; return the losses of each step."""
    settings = {"lr": 0.001, "momentum": 0.9, "weight_decay": 1e-4}
    optimizer = SGD(pair.ours.parameters(), **settings)
    theirs = torch.optim.SGD(pair.theirs.parameters(), **settings)
    losses = []
    for _ in range(count):
        losses.append(pair.backward(*pair.batch()))
        optimizer.step()
        theirs.step()
    return np.array(losses)


def test_twenty_steps_of_sgd_stay_together(pair):
    before = pair.ours.linear.weight.data.copy()
    losses = steps(pair, 20)
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-3)
    error, name = pair.worst("state")
    assert error < 1e-3, name
    assert np.linalg.norm(pair.ours.linear.weight.data - before) > 0.01 * np.linalg.norm(before)


def test_running_statistics_agree_after_five_steps(pair):
    steps(pair, 5)
    statistics = [(name, ours, theirs) for name, ours, theirs in pair.arrays("state") if ".running_" in name]
    assert len(statistics) >= 38
    for name, ours, theirs in statistics:
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4, err_msg=name)
    ours, theirs = pair.eval_logits(pair.batch()[0])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_load_state_dict_takes_the_state_dict_of_torch(pair):
    before = pair.ours.state_dict()
    for parameter in pair.ours.parameters():
        parameter.data.fill(0)
    pair.ours.load_state_dict(pair.theirs.state_dict())
    for name, array in pair.ours.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


# -- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "best": torch.tensor(0.9), "state_dict": s}])
def test_a_converted_file_loads_strictly(tmp_path, suffix, wrap, capsys):
    pair = Pair("CIFAR ResNet-20 B")
    state = {"module." + name: tensor for name, tensor in pair.theirs.state_dict().items()}
    kernel = state["module.layer1.0.conv1.weight"]
    state["module.layer1.0.conv1.weight"] = kernel.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    torch.save(wrap(state), tmp_path / "net.pth")
    target = tmp_path / f"net{suffix}"
    assert convert_torch_weights.main([str(tmp_path / "net.pth"), str(target)]) == 0
    assert "128 arrays" in capsys.readouterr().out
    net = cifar_resnet(20, "B")
    assert load_weights(net, target).source == "akamaster"
    for name, array in pair.ours.state_dict().items():
        np.testing.assert_array_equal(net.state_dict()[name], array, err_msg=name)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_converted_to_float32(tmp_path, half):
    theirs = CifarResNet(1, "A").to(half)
    torch.save(theirs.state_dict(), tmp_path / "half.pt")
    assert convert_torch_weights.main([str(tmp_path / "half.pt"), str(tmp_path / "half.npz")]) == 0
    net = cifar_resnet(8)
    load_weights(net, tmp_path / "half.npz")
    np.testing.assert_array_equal(net.linear.weight.data, theirs.linear.weight.detach().float().numpy())


def test_bfloat16_in_safetensors_is_what_torch_reads(tmp_path):
    from safetensors.torch import save_file

    theirs = CifarResNet(1, "B").to(torch.bfloat16)
    save_file(theirs.state_dict(), tmp_path / "half.safetensors")
    net = cifar_resnet(8, "B")
    load_weights(net, tmp_path / "half.safetensors")
    np.testing.assert_array_equal(net.conv1.weight.data, theirs.conv1.weight.detach().float().numpy())


@pytest.mark.parametrize(
    "content, message",
    [
        (["a"], "expected a dict of tensors, got list"),
        ({"epoch": 3}, "expected a dict of tensors, got one with epoch"),
        (nn.Linear(2, 2), "holds more than tensors"),
    ],
)
def test_what_cannot_be_converted_is_told_in_one_line(tmp_path, content, message, capsys):
    torch.save(content, tmp_path / "x.pth")
    assert convert_torch_weights.main([str(tmp_path / "x.pth"), str(tmp_path / "x.npz")]) == 1
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and not (tmp_path / "x.npz").exists()


def test_weights_saved_in_the_names_of_torchvision_load_there_strictly(tmp_path):
    pair, blank = Pair("ResNet-18"), ImageNetResNet(Basic, (2, 2, 2, 2), CLASSES)
    save_weights(pair.ours, tmp_path / "w.npz", names="torchvision")
    blank.load_state_dict({name: torch.from_numpy(array) for name, array in np.load(tmp_path / "w.npz").items()})
    for name, tensor in pair.theirs.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(blank.state_dict()[name], tensor), name


RULES = {
    "SGD": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01}),
    "Nesterov": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "Adam": (Adam, torch.optim.Adam, {}),
    "Adam with decay": (Adam, torch.optim.Adam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    "AdamW": (AdamW, torch.optim.AdamW, {}),
    "AdamW with decay": (AdamW, torch.optim.AdamW, {"lr": 0.05, "betas": (0.5, 0.9), "weight_decay": 0.3}),
}


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-13), (np.float32, 2e-6)])
@pytest.mark.parametrize("rule", RULES)
def test_fifty_steps_of_every_optimizer_are_pytorchs(rule, dtype, tolerance):
    ours, theirs, settings = RULES[rule]
    rng = np.random.default_rng(0)
    start = rng.standard_normal((3, 4)).astype(dtype)
    p, q = Parameter(start), torch.nn.Parameter(torch.from_numpy(start.copy()))
    ours, theirs = ours([p], **settings), theirs([q], **settings)
    for step in range(50):
        p.grad[...] = rng.standard_normal((3, 4)) * 10.0 ** (step % 5 - 2)
        q.grad = torch.from_numpy(p.grad.copy())
        ours.lr = theirs.param_groups[0]["lr"] = ours.lr * 0.97
        ours.step()
        theirs.step()
    np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=tolerance, atol=tolerance)
