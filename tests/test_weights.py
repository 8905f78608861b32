"""Weights of other projects: names, formats, refusals; and images prepared as those projects prepare them."""

import copy
import re
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from minires.cli import main
from minires.data import batches, synthetic
from minires.data.classes import class_names
from minires.data.images import PREPROCESSING, Preprocessing, by_mean_and_std, preprocessing, read_image
from minires.layers import BatchNorm2d, Sequential
from minires.networks import cifar_plain, cifar_resnet, imagenet_resnet
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
    return {
        name: np.array(7) if name.endswith("tracked") else rng.standard_normal(shape, np.float32)
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


@pytest.mark.parametrize("strict", [True, False])
def test_another_shape_is_named_and_nothing_is_written(strict):
    net = random_net(classes=5)
    before = random_net(classes=5)
    with pytest.raises(WeightsError, match=r"expected fc.weight \(here linear.weight\) of shape \(5, 64\), got"):
        load_weights(net, state_in_names_of("torchvision", "A"), strict)
    assert_same(net, before)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros(10, int), "expected linear.bias to be an array of floats, got int64"),
        (np.zeros(10, "V2"), "got .*V2. If it is bfloat16, save it as float32"),
        (None, "expected linear.bias to be an array of floats, got object"),
    ],
)
def test_what_is_not_floats_is_refused(array, message):
    with pytest.raises(WeightsError, match=message):
        load_weights(random_net(), random_net().state_dict() | {"linear.bias": array})


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


# -- images ---------------------------------------------------------------------------------------------------


def picture(path, height, width, mode="RGB"):
    """Save an image whose red rises to the right and green downwards."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width) * 255 // (width - 1)
    image[..., 1] = np.arange(height)[:, None] * 255 // (height - 1)
    Image.fromarray(image).convert(mode).save(path)
    return path


@pytest.mark.parametrize("height, width", [(300, 400), (500, 300), (256, 256), (20, 60)])
def test_the_shorter_side_is_scaled_and_the_middle_kept(tmp_path, height, width):
    image = read_image(picture(tmp_path / "p.png", height, width), 256, 224)
    assert image.shape == (3, 224, 224) and image.dtype == np.uint8
    red, green, blue = image.astype(float)
    longer = 256 * max(height, width) // min(height, width)
    sizes = (256, longer) if height < width else (longer, 256)
    for plane, size in ((green.T, sizes[0]), (red, sizes[1])):
        at = (np.arange(224) + 0.5 + (size - 224) / 2) / size * 255
        assert np.abs(plane.mean(axis=0) - at).max() < 8 and plane.std(axis=0).max() < 1
    assert not blue.any()


def test_mean_and_std_are_those_of_the_source(tmp_path):
    Image.new("RGB", (300, 260), (124, 116, 104)).save(tmp_path / "p.png")
    x = preprocessing("imagenet")(tmp_path / "p.png")
    assert x.shape == (1, 3, 224, 224) and x.dtype == np.float32
    colours = (np.array([124, 116, 104]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(x[0], np.broadcast_to(colours[:, None, None], (3, 224, 224)), rtol=1e-3, atol=1e-5)
    for name in set(PREPROCESSING) - {"imagenet", "mean-image"}:
        assert preprocessing(name)(tmp_path / "p.png").shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match="expected one of imagenet, .*; got 'caffe'"):
        preprocessing("caffe")


@pytest.mark.parametrize(
    "mean, std", [((0, 0), (1, 1, 1)), ((0, 0, 0), 1), ((0, 0, np.nan), (1, 1, 1)), ((0, 0, 0), (1, 0, 1))]
)
def test_a_mean_and_a_std_are_three_numbers(mean, std):
    with pytest.raises(ValueError, match="expected a mean and a std|expected a std above 0"):
        by_mean_and_std(mean, std)


def test_an_image_file_gives_the_x_that_training_saw(tmp_path):
    train_set, test_set = synthetic(train_size=100, test_size=20)
    Image.fromarray(test_set.images[3].transpose(1, 2, 0)).save(tmp_path / "3.png")
    x, _ = next(batches(test_set[3:4], 1))
    prepare = Preprocessing(32, 32, train_set.pixel_mean, np.full(3, 1 / 255, np.float32))
    np.testing.assert_allclose(prepare(tmp_path / "3.png"), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_grey_transparent_and_other_pictures_become_rgb(tmp_path, mode):
    name = "p.tif" if mode == "CMYK" else "p.png"
    assert read_image(picture(tmp_path / name, 40, 50, mode), 32, 32).shape == (3, 32, 32)


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path):
    upright = Image.open(picture(tmp_path / "p.png", 64, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees to the right
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "side.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "side.png", 32, 32), read_image(tmp_path / "p.png", 32, 32))


def test_what_is_no_image_is_told_in_one_line(tmp_path):
    (tmp_path / "p.png").write_text("no image")
    with pytest.raises(ValueError, match="p.png: not an image that can be read"):
        read_image(tmp_path / "p.png", 32, 32)
    whole = picture(tmp_path / "cut.jpg", 200, 200).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.jpg: not an image that can be read .*truncated"):
        read_image(tmp_path / "cut.jpg", 32, 32)
    with pytest.raises(FileNotFoundError, match="It is a folder?"):
        read_image(tmp_path, 32, 32)


# -- predict --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Weights whose only class with a chance is number 8, an image, and names."""
    monkeypatch.chdir(tmp_path)
    net = cifar_resnet(8, rng=0)
    net.linear.bias.data[8] = 1000
    save_weights(net, "akamaster.npz", names="akamaster")
    save_weights(net, "own.npz")
    picture("p.png", 40, 50)
    (tmp_path / "names.txt").write_text("\n".join(f"name {k}" for k in range(10)) + "\n\n")
    return tmp_path


def predict(capsys, *arguments):
    status = main(["predict", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_predict_prints_the_five_likeliest_classes(folder, capsys):
    status, out, err = predict(capsys, "resnet-8", "--weights", "akamaster.npz", "p.png")
    head, table = out.split("\n\n")
    assert (status, err) == (0, "")
    assert "37 arrays loaded" in head
    lines = table.splitlines()
    assert lines[:2] == ["p.png", " 100.00%  ship"] and len(lines) == 6
    assert re.fullmatch(r" +0\.00%  \w+", lines[5])


def test_probabilities_are_those_of_the_prepared_image(folder, capsys):
    net = cifar_resnet(8, rng=3)
    net.linear.weight.data *= 0.1
    save_weights(net, "w.npz")
    _, out, _ = predict(capsys, "resnet-8", "--weights", "w.npz", "p.png", "--preprocess", "cifar10", "--top", "10")
    logits = net.eval().forward(preprocessing("cifar10")("p.png"))[0].astype(float)
    expected = np.exp(logits) / np.exp(logits).sum()
    shown = [float(number) for number in re.findall(r"([\d.]+)%", out)]
    np.testing.assert_allclose(shown, 100 * np.sort(expected)[::-1], atol=0.006)
    assert sum(shown) == pytest.approx(100, abs=0.1)


def test_names_of_classes_come_from_a_file(folder, capsys):
    names = ["--preprocess", "cifar10", "--classes", "names.txt", "--top", "1"]
    status, out, _ = predict(capsys, "resnet-8", "--weights", "own.npz", "p.png", "p.png", *names)
    assert status == 0 and out.count("\np.png\n 100.00%  name 8\n") == 2 and out.count("%") == 2


def test_a_checkpoint_brings_its_own_preprocessing_and_names(folder, capsys):
    from minires.checkpoint import save_checkpoint

    net = cifar_resnet(8, classes=3, rng=0)
    shift, scale = np.full((3, 32, 32), 120, np.float32), np.full(3, 1 / 255, np.float32)
    inputs = {"normalisation": (shift, scale), "classes": ("square", "ring", "star")}
    save_checkpoint("checkpoint.npz", net, inputs=inputs, step=5)
    status, out, _ = predict(capsys, "resnet-8", "--weights", "checkpoint.npz", "p.png")
    assert status == 0 and "prepared as those of the run" in out
    assert sorted(re.findall(r"%  (\w+)", out)) == ["ring", "square", "star"]


def test_without_a_source_the_preprocessing_must_be_given(folder, capsys):
    save_weights(cifar_resnet(8, classes=3, rng=0), "three.npz")
    status, _, err = predict(capsys, "resnet-8", "--weights", "three.npz", "p.png")
    assert status == 2 and "nothing says how its images were prepared. Give --preprocess, one of imagenet, " in err
    status, out, _ = predict(capsys, "resnet-8", "--weights", "three.npz", "p.png", "--preprocess", "cifar10")
    assert status == 0 and sorted(re.findall(r"%  (.*)", out)) == ["class 0", "class 1", "class 2"]


def test_a_thousand_classes_have_the_names_and_preprocessing_of_imagenet(folder, capsys):
    net = imagenet_resnet(18, rng=0)
    net.linear.bias.data[207] = 1000
    save_weights(net, "torchvision.npz", names="torchvision")
    status, out, _ = predict(capsys, "resnet18", "--weights", "torchvision.npz", "p.png", "--top", "1")
    assert status == 0 and "prepared as imagenet (a guess" in out and "100.00%  golden retriever\n" in out


def test_a_hundred_classes_are_those_of_cifar100(folder, capsys):
    save_weights(cifar_resnet(8, classes=100, rng=0), "hundred.npz", names="torchvision")
    status, out, _ = predict(capsys, "resnet-8", "--weights", "hundred.npz", "p.png", "--top", "100")
    assert status == 0 and "prepared as cifar100 (a guess" in out
    assert sorted(re.findall(r"%  (.*)", out)) == class_names(100)


def test_the_names_of_classes_are_as_many_and_in_their_order():
    imagenet = class_names(1000)
    assert len(imagenet) == len(set(imagenet)) == 1000
    some = {0: "tench", 1: "goldfish", 134: "crane (bird)", 281: "tabby", 340: "zebra", 388: "giant panda"}
    some |= {417: "balloon", 504: "coffee mug", 517: "crane (machine)", 555: "fire engine", 620: "laptop"}
    some |= {779: "school bus", 850: "teddy", 920: "traffic light", 954: "banana", 985: "daisy", 999: "toilet tissue"}
    assert {k: imagenet[k] for k in some} == some
    assert len(class_names(100)) == 100 and class_names(100) == sorted(class_names(100))
    assert class_names(10)[3:5] == ["cat", "deer"] and class_names(3) == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["resnet-8", "p.png"], "required: --weights"),
        (["resnet-8", "--weights", "akamaster.npz"], "required: IMAGE"),
        (["resnet-8", "--weights", "model.pth", "p.png"], "a pickle.*convert_torch_weights.py model.pth model.npz"),
        (["resnet-8", "--weights", "nowhere.npz", "p.png"], "nowhere.npz: no such file"),
        (["resnet-14", "--weights", "akamaster.npz", "p.png"], r"missing layer1.1.conv1.weight \(here stage1.1"),
        (["resnet-8", "--weights", "akamaster.npz", "q.png"], "no image q.png"),
        (["resnet-8", "--weights", "akamaster.npz", "names.txt"], "names.txt: not an image"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--preprocess", "vgg"], "invalid choice: 'vgg'"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--top", "0"], "--top: expected at least 1"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--classes", "no.txt"], "no.txt"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--classes", "p.png"], "p.png is not a text file"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--classes", "two.txt"], "expected 10 names.*got 2"),
        (["resnet-8", "--weights", "nan.npz", "p.png", "--preprocess", "cifar10"], "the net answers NaN or infinity"),
    ],
)
def test_wrong_uses_of_predict_are_answered_in_one_line(folder, capsys, arguments, message):
    (folder / "two.txt").write_text("cat\ndog\n")
    net = cifar_resnet(8, rng=0)
    net.linear.bias.data[0] = np.nan
    save_weights(net, "nan.npz")
    status, _, err = predict(capsys, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert re.match(f"minires: .*{message}", err)
