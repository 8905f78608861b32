"""Weights of other projects: names, formats, refusals."""

import copy
import pickle
import re
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from minires.checkpoint import CheckpointError, read_progress
from minires.layers import BatchNorm2d, Sequential
from minires.networks import cifar_plain, cifar_resnet
from minires.weights import NAMES, WeightsError, classes_of, foreign_name, load_weights, read_weights, save_weights

FORMATS = [".npz", ".safetensors"]


def random_net(build=cifar_resnet, seed=0, **options):
    """A small net none of whose arrays is zeros or ones, so that a mistaken place is seen."""
    net, rng = build(8, rng=seed, **options), np.random.default_rng(seed)
    net.load_state_dict({name: rng.random(array.shape) for name, array in net.state_dict().items()})
    return net


def assert_same(net, other):
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(net.state_dict()[name], array, err_msg=name)


# -- names ----------------------------------------------------------------------------------------------------

# What a CIFAR ResNet-8 with shortcut B is called by torchvision and those who follow it, and by akamaster; written
# from their modules, one line of names a batch norm or layer of weights.
BLOCKS = [f"layer{stage}.0.{kind}{i}" for stage in (1, 2, 3) for i in (1, 2) for kind in ("conv", "bn")]


def state_in_names_of(source, shortcut):
    """A state dict as torch would save it: random arrays, counters included."""
    layers = ["conv1", "bn1", *BLOCKS, {"torchvision": "fc", "akamaster": "linear"}[source]]
    if shortcut == "B":
        past = {"torchvision": "downsample", "akamaster": "shortcut"}[source]
        layers += [f"layer{stage}.0.{past}.{i}" for stage in (2, 3) for i in (0, 1)]
    shapes = {}
    for layer in layers:
        channels = 16 * 2 ** (int(layer[5]) - 1) if layer.startswith("layer") else 16
        before = channels // 2 if layer[5:6] in ("2", "3") else channels
        if layer in ("fc", "linear"):
            shapes |= {f"{layer}.weight": (10, 64), f"{layer}.bias": (10,)}
        elif re.search(r"conv\d$|\.0$", layer):
            inputs = 3 if layer == "conv1" else channels if layer.endswith("conv2") else before
            size = 1 if layer.endswith(".0") else 3
            shapes[f"{layer}.weight"] = (channels, inputs, size, size)
        else:
            shapes |= {f"{layer}.{name}": (channels,) for name in ("weight", "bias", "running_mean", "running_var")}
            shapes[f"{layer}.num_batches_tracked"] = ()
    rng = np.random.default_rng(1)
    draw = {"num_batches_tracked": lambda *_: np.array(7), "running_var": rng.random}
    return {
        name: draw.get(name.rpartition(".")[2], rng.standard_normal)(shape, np.float32)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("source", ["torchvision", "akamaster"])
def test_state_dicts_of_other_projects_load_strictly(source, shortcut, prefix):
    state = {prefix + name: array for name, array in state_in_names_of(source, shortcut).items()}
    net = random_net(shortcut=shortcut)
    found = load_weights(net, state)
    assert not found.missing and not found.unexpected
    assert {*found.loaded.values(), *found.ignored} == set(state)
    assert len(found.ignored) == (9 if shortcut == "B" else 7)
    ours = net.state_dict()
    assert set(found.loaded) == set(ours)
    pairs = {
        "stage3.0.residual.branch.conv1.weight": "layer3.0.conv1.weight",
        "stage2.0.residual.branch.bn2.running_var": "layer2.0.bn2.running_var",
        "linear.bias": {"torchvision": "fc.bias", "akamaster": "linear.bias"}[source],
    }
    if shortcut == "B":
        past = {"torchvision": "downsample", "akamaster": "shortcut"}[source]
        pairs["stage3.0.residual.shortcut.1.running_mean"] = f"layer3.0.{past}.1.running_mean"
        assert found.source == source
    for own, theirs in pairs.items():
        np.testing.assert_array_equal(ours[own], state[prefix + theirs], err_msg=own)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("source", ["torchvision", "akamaster"])
def test_load_state_dict_understands_the_names_of_other_projects(source, prefix):
    state = {prefix + name: array for name, array in state_in_names_of(source, "B").items()}
    net, other = random_net(seed=0, shortcut="B"), copy.deepcopy(random_net(seed=1, shortcut="B"))
    load_weights(net, state)
    assert_same(other.load_state_dict(state), net)


def test_load_state_dict_names_what_is_missing_and_unexpected_in_both_languages():
    state, net = state_in_names_of("akamaster", "A"), random_net()
    state["layer1.0.conv8.weight"] = state.pop("layer1.0.conv2.weight")
    with pytest.raises(
        KeyError,
        match=r"names of akamaster, missing layer1.0.conv2.weight \(here stage1.0.residual.branch.conv2.weight\); "
        r"unexpected layer1.0.conv8.weight. Is it .* strict=False loads what fits",
    ):
        net.load_state_dict(state)
    assert_same(net, random_net())
    kept = net.state_dict()["stage1.0.residual.branch.conv2.weight"]
    after = net.load_state_dict(state, strict=False).state_dict()
    np.testing.assert_array_equal(after["stage1.0.residual.branch.conv2.weight"], kept)
    np.testing.assert_array_equal(after["stage1.0.residual.branch.bn2.bias"], state["layer1.0.bn2.bias"])


def test_a_plain_net_takes_plain_names():
    net, other = random_net(cifar_plain, 0), random_net(cifar_plain, 1)
    state = {foreign_name(name, "torchvision"): array for name, array in other.state_dict().items()}
    assert "layer1.0.conv2.weight" in state
    load_weights(net, state)
    assert_same(net, other)


def test_what_was_loaded_is_said():
    text = str(load_weights(random_net(shortcut="B"), state_in_names_of("torchvision", "B")))
    assert text == "47 arrays loaded, in the names of torchvision; 9 counters num_batches_tracked ignored"


def test_missing_and_unexpected_names_are_told_in_both_languages():
    state = state_in_names_of("torchvision", "B")
    del state["layer2.0.conv1.weight"]
    state["layer2.0.conv9.weight"] = np.zeros(3)
    net = random_net(shortcut="B")
    before = net.state_dict()
    with pytest.raises(
        WeightsError,
        match=r"missing layer2.0.conv1.weight \(here stage2.0.residual.branch.conv1.weight\); "
        r"unexpected layer2.0.conv9.weight. Is it the same kind",
    ):
        load_weights(net, state)
    for name, array in before.items():
        np.testing.assert_array_equal(net.state_dict()[name], array, err_msg="nothing is written unless all fits")
    found = load_weights(net, state, strict=False)
    assert found.missing == {"stage2.0.residual.branch.conv1.weight": "layer2.0.conv1.weight"}
    assert found.unexpected == ["layer2.0.conv9.weight"]
    assert "missing layer2.0.conv1.weight (here" in str(found) and "unexpected layer2.0.conv9" in str(found)
    kept = net.state_dict()["stage2.0.residual.branch.conv1.weight"]
    np.testing.assert_array_equal(kept, before["stage2.0.residual.branch.conv1.weight"])
    np.testing.assert_array_equal(net.state_dict()["linear.bias"], state["fc.bias"])


def test_weights_of_another_shortcut_do_not_load():
    message = r"missing nothing; unexpected layer2.0.downsample.0.weight, .* and 5 more.* projections .* option B"
    with pytest.raises(WeightsError, match=message):
        load_weights(random_net(shortcut="A"), state_in_names_of("torchvision", "B"))
    with pytest.raises(WeightsError, match=r"missing layer2.0.*unexpected nothing.* no projections .* option A"):
        load_weights(random_net(shortcut="B"), state_in_names_of("akamaster", "A"))


def test_another_shape_is_named_and_nothing_is_written():
    net = random_net(classes=5)
    before = random_net(classes=5)
    with pytest.raises(WeightsError, match=r"expected fc.weight \(here linear.weight\) of shape \(5, 64\), got"):
        load_weights(net, state_in_names_of("torchvision", "A"))
    assert_same(net, before)


def test_fine_tuning_takes_all_but_what_has_another_shape_and_lists_it():
    net, state = random_net(classes=5), state_in_names_of("torchvision", "A")
    before = net.state_dict()
    found = load_weights(net, state, strict=False)
    assert found.reshaped == {"linear.weight": ((10, 64), (5, 64)), "linear.bias": ((10,), (5,))}
    assert "not loaded, being of another shape, linear.weight (10, 64) instead of (5, 64), linear.bias" in str(found)
    assert not found.missing and not found.unexpected and not {"linear.weight", "linear.bias"} & set(found.loaded)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, state[found.loaded[name]] if name in found.loaded else before[name])
    with pytest.raises(WeightsError, match="fits nothing"):
        load_weights(net, {"linear.bias": np.zeros(10)}, strict=False)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "_orig_mod.module.", "model.module.model."])
@pytest.mark.parametrize("source", ["minires", "torchvision"])
def test_what_wrappers_put_before_names_is_left_out(source, prefix):
    net, other = random_net(seed=0), random_net(seed=1)
    state = {prefix + foreign_name(name, source): array for name, array in other.state_dict().items()}
    load_weights(net, state)
    assert_same(net, other)
    assert classes_of(state) == 10
    found = load_weights(net, {"loss.weight": np.ones(2), **state}, strict=False)  # Lightning's, of another member
    assert len(found.loaded) == len(state) and found.unexpected == ["loss.weight"]


def test_a_net_whose_own_names_begin_like_a_wrapper_keeps_them():
    net, other = Sequential(model=random_net(seed=0)), Sequential(model=random_net(seed=1))
    load_weights(net, other.state_dict())
    assert_same(net, other)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros(10, int), "expected linear.bias to be an array of floats, got int64"),
        (np.zeros(10, "V2"), "got .*V2. If it is bfloat16, save it as float32"),
        (None, "expected linear.bias to be an array of floats, got object"),
        (np.zeros(10, complex), "expected linear.bias to be an array of floats, got complex128"),
        (["1"] * 10, "expected linear.bias to be an array of floats, got <U1"),
        (np.ones(10, bool), "expected linear.bias to be an array of floats, got bool"),
        ([[1.0], [1.0, 2.0]], "linear.bias cannot be made an array"),
        (
            np.ma.masked_array(np.ones(10), [True] + 9 * [False]),
            "expected linear.bias as a plain array, got a masked one",
        ),
        (np.array([np.nan, *np.ones(9)]), "linear.bias of numbers that are finite in float32, got NaN"),
        (np.array([1, np.inf, -np.inf, *np.ones(7)]), "linear.bias of numbers that are finite in float32"),
        (np.full(10, 1e300), "linear.bias of numbers that are finite in float32, .* or too large ones"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_not_finite_floats_is_refused_and_nothing_is_written(array, message, strict):
    net = random_net()
    with pytest.raises(WeightsError, match=message):
        load_weights(net, random_net(seed=1).state_dict() | {"linear.bias": array}, strict)
    assert_same(net, random_net())


@pytest.mark.parametrize("wrong", [None, 3, [1], np.zeros(3)])
def test_what_is_neither_a_file_nor_a_dict_is_told(wrong):
    with pytest.raises(WeightsError, match=f"expected a file or a dict of arrays, got {type(wrong).__name__}"):
        load_weights(random_net(), wrong)
    with pytest.raises(WeightsError, match="expected names that are texts, got 0"):
        load_weights(random_net(), {0: np.zeros(3)})


def test_a_negative_variance_is_refused():
    state = random_net().state_dict()
    state["bn1.running_var"][3] = -0.5
    with pytest.raises(WeightsError, match="expected bn1.running_var of numbers of at least 0.*, got -0.5"):
        load_weights(random_net(), state)


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.float16, np.longdouble])
def test_floats_of_every_kind_are_taken(dtype):
    net, other = random_net(seed=0), random_net(seed=1)
    load_weights(net, {name: array.astype(dtype) for name, array in other.state_dict().items()})
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name].astype(dtype))


def test_a_file_of_something_else_fits_nothing_even_when_not_strict():
    with pytest.raises(WeightsError, match="fits nothing. It holds vit.weight; the net conv1.weight"):
        load_weights(random_net(), {"vit.weight": np.zeros(2)}, strict=False)


@pytest.mark.parametrize("names", NAMES)
def test_the_number_of_classes_is_read_from_the_last_layer(names):
    state = {"module." + foreign_name(n, names): a for n, a in random_net(classes=7).state_dict().items()}
    assert classes_of(state) == 7 and classes_of({}) is None


# -- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_saved_is_loaded(tmp_path, suffix, names):
    net, other, file = random_net(seed=0, shortcut="B"), random_net(seed=1, shortcut="B"), tmp_path / f"w{suffix}"
    save_weights(net, file)
    save_weights(other, file, names=names)  # takes the place of the one before
    assert load_weights(net, str(file)).source == names
    assert_same(net, other)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", FORMATS)
def test_arrays_that_lie_otherwise_in_memory_are_saved_right(tmp_path, suffix):
    net = random_net()
    kernel = net.conv1.weight
    kernel.data = kernel.data.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1)
    net.linear.weight.data = np.asfortranarray(net.linear.weight.data)
    assert not kernel.data.flags.c_contiguous and not net.linear.weight.data.flags.c_contiguous
    save_weights(net, tmp_path / f"w{suffix}")
    np.testing.assert_array_equal(read_weights(tmp_path / f"w{suffix}")["conv1.weight"], kernel.data)
    np.testing.assert_array_equal(read_weights(tmp_path / f"w{suffix}")["linear.weight"], net.linear.weight.data)


@pytest.mark.parametrize("suffix", FORMATS)
def test_half_precision_is_read_and_the_net_keeps_its_own(tmp_path, suffix):
    net, file = random_net(), tmp_path / f"half{suffix}"
    half = {name: array.astype(np.float16) for name, array in random_net(seed=1).state_dict().items()}
    np.savez(file, **half) if suffix == ".npz" else save_file(half, file)
    load_weights(net, file)
    for name, array in net.state_dict().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, half[name])


def test_bfloat16_is_read_as_float32(tmp_path):
    values = np.array([[1.0, -2.5], [3.140625, 2.0**-126]], np.float32)  # exact in 8 bits of mantissa
    words = (values.view(np.uint32) >> 16).astype("<u2")
    header = b'{"linear.bias":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + words.tobytes())
    array = read_weights(tmp_path / "b.safetensors")["linear.bias"]
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, values)


def test_types_that_nobody_expects_are_named(tmp_path):
    header = b'{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"xx")
    with pytest.raises(WeightsError, match="a is of type F8_E4M3; expected one of F64, F32"):
        read_weights(tmp_path / "b.safetensors")


@pytest.mark.parametrize("name", ["resnet18.pth", "m.pt", "c.pth.tar", "model.th", "x.pkl", "pytorch_model.bin"])
def test_a_pickle_is_refused_unopened_and_the_way_round_is_named(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    with pytest.raises(WeightsError, match=r"a pickle.*python examples/convert_torch_weights.py \S+ \S+\.npz"):
        load_weights(random_net(), file)


def test_a_file_of_torch_under_another_name_is_known_as_a_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as file:  # as torch.save writes it
        file.writestr("net/data.pkl", b"cos\nsystem\n(S'touch opened'\ntR.")
        file.writestr("net/data/0", b"\0" * 8)
    with pytest.raises(WeightsError, match=r"net.npz: a pickle.*convert_torch_weights.py \S+ net-arrays.npz"):
        read_weights(tmp_path / "net.npz")


def test_a_pickle_under_another_name_is_not_opened(tmp_path):
    (tmp_path / "net.npz").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match=r"not of the form .npz \(File is not a zip file\)"):
        read_weights(tmp_path / "net.npz")


def test_objects_in_an_npz_file_are_not_opened(tmp_path):
    np.savez(tmp_path / "w.npz", state=np.array({"a": 1}, dtype=object))
    with pytest.raises(WeightsError, match=r"holds Python objects, which are not opened. .*\(file, \*\*state\)"):
        read_weights(tmp_path / "w.npz")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("damage", ["cut", "nonsense", "empty"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, suffix, damage):
    file = tmp_path / f"w{suffix}"
    save_weights(random_net(), file)
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "nonsense": b"nonsense" * 30, "empty": b""}[damage])
    with pytest.raises(WeightsError, match=rf"w{suffix}: damaged, cut short, or not ") as caught:
        read_weights(file)
    assert "\n" not in str(caught.value)


def test_a_long_head_is_refused_in_one_line_and_is_no_object(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as file:
        file.writestr("a.npy", b"\x93NUMPY\2\0" + (200_000).to_bytes(4, "little") + b" " * 200_000)
    with pytest.raises(WeightsError, match=r"damaged, cut short, .*large and may not be safe[^\n]*$"):
        read_weights(tmp_path / "w.npz")
    with pytest.raises(CheckpointError, match=r"damaged or cut short .*large and may not be safe[^\n]*$"):
        read_progress(tmp_path / "w.npz")


def test_a_small_file_does_not_become_large_arrays(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(75 << 20, np.uint8))
    assert (tmp_path / "bomb.npz").stat().st_size < 200_000
    with pytest.raises(WeightsError, match="claims to hold 78,643,[0-9]+ bytes, more than weights can be packed into"):
        read_weights(tmp_path / "bomb.npz")
    np.savez_compressed(tmp_path / "small.npz", a=np.zeros(1 << 20))
    assert not read_weights(tmp_path / "small.npz")["a"].any()


def test_a_head_that_claims_a_large_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as file:
        head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1073741824, 1024)}\n"
        file.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(64))
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(tmp_path / "w.npz")


@pytest.mark.parametrize("length", [1 << 62, 9 << 20, 100])
def test_a_safetensors_head_is_bounded(tmp_path, length):
    (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + b"[" * 100)
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(2))
    for name in ("a.npy", "a"):
        (tmp_path / "x.npz").write_bytes((tmp_path / "w.npz").read_bytes())
        with zipfile.ZipFile(tmp_path / "x.npz", "a") as file:
            file.writestr(name, file.read("a.npy"))
        with pytest.raises(WeightsError, match="expected one array per name, got several of a"):
            read_weights(tmp_path / "x.npz")
    one = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    head = b"{" + one + b"," + one + b"}"
    (tmp_path / "w.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    with pytest.raises(WeightsError, match="expected one array per name, got several of a"):
        read_weights(tmp_path / "w.safetensors")


def test_a_huge_file_is_not_read(tmp_path):
    for suffix in FORMATS:
        with open(tmp_path / f"w{suffix}", "wb") as file:
            file.truncate(5 << 30)  # takes no room on the disk
        with pytest.raises(WeightsError, match="expected up to 4,294,967,296 bytes, got 5,368,709,120"):
            read_weights(tmp_path / f"w{suffix}")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path, monkeypatch, suffix):
    file = tmp_path / f"w{suffix}"
    save_weights(random_net(seed=1), file)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WeightsError, match="could not be written .No space left"):
        save_weights(random_net(seed=2), file)
    net = random_net()
    load_weights(net, file)
    assert_same(net, random_net(seed=1))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_changed_byte_in_an_npz_file_is_noticed(tmp_path):
    save_weights(random_net(), tmp_path / "w.npz")
    with zipfile.ZipFile(tmp_path / "w.npz") as file:
        at = file.getinfo("linear.weight.npy").header_offset + 400
    data = bytearray((tmp_path / "w.npz").read_bytes())
    data[at] ^= 1
    (tmp_path / "w.npz").write_bytes(data)
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(tmp_path / "w.npz")


def test_wrong_paths_and_names_are_told(tmp_path):
    net = random_net()
    with pytest.raises(WeightsError, match="nowhere.npz: no such file"):
        load_weights(net, tmp_path / "nowhere.npz")
    with pytest.raises(WeightsError, match="w.h5: expected a file whose name ends in .npz or .safetensors"):
        load_weights(net, tmp_path / "w.h5")
    with pytest.raises(WeightsError, match="could not be written"):
        save_weights(net, tmp_path / "no folder" / "w.npz")
    with pytest.raises(WeightsError, match="expected a file whose name"):
        save_weights(net, tmp_path / "w")
    with pytest.raises(ValueError, match="expected names as one of minires, torchvision, akamaster; got 'keras'"):
        save_weights(net, tmp_path / "w.npz", names="keras")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(WeightsError, match="holds no arrays"):
        read_weights(tmp_path / "empty.npz")


def test_without_the_library_safetensors_its_absence_is_said(tmp_path, monkeypatch):
    save_weights(random_net(), tmp_path / "w.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(WeightsError, match="pip install safetensors"):
        read_weights(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="pip install safetensors"):
        save_weights(random_net(), tmp_path / "x.safetensors")
    load_weights(Sequential(bn=BatchNorm2d(2)), Sequential(bn=BatchNorm2d(2)).state_dict())
