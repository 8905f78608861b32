"""Images prepared as the sources of weights prepare them, and what minires predict says is in them."""

import re

import numpy as np
import pytest
from PIL import Image

from minires.checkpoint import save_checkpoint
from minires.cli import main
from minires.data import batches, synthetic
from minires.data.batches import normalisation
from minires.data.classes import class_names
from minires.data.images import PREPROCESSING, Preprocessing, by_mean_and_std, preprocessing, read_image
from minires.layers import Conv2d
from minires.networks import cifar_resnet, imagenet_resnet
from minires.train import evaluate
from minires.weights import save_weights

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
    with pytest.raises(ValueError, match="expected one of imagenet, .*, got 'caffe'"):
        preprocessing("caffe")


@pytest.mark.parametrize(
    "mean, std", [((0, 0), (1, 1, 1)), ((0, 0, 0), 1), ((0, 0, np.nan), (1, 1, 1)), ((0, 0, 0), (1, 0, 1))]
)
def test_a_mean_and_a_std_are_three_numbers(mean, std):
    with pytest.raises(ValueError, match="expected (mean|std) of shape|expected a finite mean and a std above 0"):
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


RAMP = np.arange(65536).reshape(256, 256)  # from black to white in 16 bits


@pytest.mark.parametrize(
    "end, dtype, white",
    [("png", np.uint16, 65535), ("pgm", np.uint16, 65535), ("tif", np.uint16, 65535)]
    + [("tif", np.int32, white) for white in (255, 65535)]
    + [("tif", np.float32, white) for white in (1, 255, 65535)],
)
def test_a_picture_of_other_numbers_than_bytes_keeps_its_brightness(tmp_path, end, dtype, white):
    """A ramp has the mean 127.5, whatever number stands for white."""
    Image.fromarray((RAMP * (white / 65535)).astype(dtype)).save(tmp_path / f"p.{end}")
    for image in (read_image(tmp_path / f"p.{end}", 256, 256), read_image(tmp_path / f"p.{end}", 256, 256, channels=1)):
        assert image.dtype == np.uint8 and (image.min(), image.max()) == (0, 255)
        assert np.abs(image.mean(axis=(1, 2)) - 127.5).max() < 0.6
        assert np.abs(image[0].astype(int) - RAMP // 257).max() <= 1


def test_a_dark_picture_of_16_bits_stays_dark(tmp_path):
    for name in ("p.png", "p.pgm", "p.tif"):
        Image.fromarray((RAMP // 512).astype(np.uint16)).save(tmp_path / name)
        assert read_image(tmp_path / name, 32, 32).max() <= 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -5.0, 1e6])
def test_numbers_that_are_no_brightness_are_told(tmp_path, wrong):
    pixels = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    pixels[3, 3] = wrong
    Image.fromarray(pixels).save(tmp_path / "p.tif")
    with pytest.raises(ValueError, match="p.tif: .*its pixels go from .* expected 0 to 1, 255 or 65535"):
        read_image(tmp_path / "p.tif", 8, 8)


@pytest.mark.parametrize("mode, colour, shown", [
    ("RGBA", (200, 10, 10, 0), (255, 255, 255)),
    ("RGBA", (200, 10, 10, 255), (200, 10, 10)),
    ("LA", (0, 51), (204, 204, 204)),
    ("1", 1, (255, 255, 255)),
    ("L", 77, (77, 77, 77)),
    ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ("YCbCr", (76, 85, 255), (254, 0, 0)),
])  # fmt: skip
def test_colours_are_those_that_a_person_sees(tmp_path, mode, colour, shown):
    path = tmp_path / ("p.tif" if mode in ("CMYK", "YCbCr") else "p.png")
    Image.new(mode, (40, 30), colour).save(path)
    np.testing.assert_allclose(read_image(path, 32, 32).mean(axis=(1, 2)), shown, atol=1)


def test_a_palette_gives_its_colours_and_what_is_transparent_in_it_is_white(tmp_path):
    image = Image.new("P", (40, 30), 1)
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png", 32, 32).mean(axis=(1, 2)), (200, 100, 0))
    image.save(tmp_path / "p.gif", transparency=1)
    np.testing.assert_array_equal(read_image(tmp_path / "p.gif", 32, 32).mean(axis=(1, 2)), (255, 255, 255))


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1), (1, 1)])
def test_a_line_of_pixels_takes_no_more_memory_than_a_picture(tmp_path, size):
    Image.new("L", size, 99).save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png", 256, 224), np.full((3, 224, 224), 99))


@pytest.mark.parametrize("orientation, transposed", [
    (2, "FLIP_LEFT_RIGHT"), (3, "ROTATE_180"), (4, "FLIP_TOP_BOTTOM"), (5, "TRANSPOSE"), (6, "ROTATE_90"),
    (7, "TRANSVERSE"), (8, "ROTATE_270"),
])  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_every_orientation_of_a_camera_is_turned_upright(tmp_path, mode, orientation, transposed):
    upright = Image.open(picture(tmp_path / "p.png", 64, 64))
    if mode == "I;16":
        upright = Image.fromarray(RAMP[::4, ::4].astype(np.uint16))
        upright.save(tmp_path / "p.png")
    elif mode == "L":
        upright = upright.convert("L")
        upright.save(tmp_path / "p.png")
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright.transpose(Image.Transpose[transposed]).save(tmp_path / "side.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "side.png", 32, 32), read_image(tmp_path / "p.png", 32, 32))


def test_what_is_no_image_is_told_in_one_line(tmp_path):
    (tmp_path / "p.png").write_text("no image")
    with pytest.raises(ValueError, match="p.png: not an image that can be read"):
        read_image(tmp_path / "p.png", 32, 32)
    whole = picture(tmp_path / "cut.jpg", 200, 200).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.jpg: not an image that can be read .*truncated"):
        read_image(tmp_path / "cut.jpg", 32, 32)
    (tmp_path / "program.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(said) print showpage\n")
    with pytest.raises(ValueError, match="program.png: not an image that can be read .PostScript.. PNG and JPEG can"):
        read_image(tmp_path / "program.png", 32, 32)
    with pytest.raises(ValueError, match="a picture has 1 or 3 channels, and this net takes 2"):
        read_image(tmp_path / "p.png", 32, 32, channels=2)
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


OWN = """from minires import Conv2d, cifar_resnet
number = 3
def build(depth=8, channels=3):
    net = cifar_resnet(depth, rng=7)
    if channels != 3:
        net.conv1 = Conv2d(channels, 16, 3, padding=1, bias=False, rng=0)
    return net
def maps():
    return Conv2d(3, 16, 3, padding=1, bias=False, rng=0)
"""


def test_a_net_of_your_own_file_answers_too(folder, capsys):
    (folder / "own.py").write_text(OWN)
    named = predict(capsys, "resnet-8", "--weights", "akamaster.npz", "p.png")[1]
    own = predict(capsys, "own.py:build", "--args", "depth=8", "--weights", "akamaster.npz", "p.png")[1]
    assert own == named.replace("resnet-8:", "own.py:build:")


def test_a_net_of_one_channel_sees_the_picture_in_grey(folder, capsys):
    from minires.checkpoint import save_checkpoint

    (folder / "own.py").write_text(OWN)
    net = cifar_resnet(8, rng=0)
    net.conv1 = Conv2d(1, 16, 3, padding=1, bias=False, rng=0)
    inputs = {"normalisation": (np.full((1, 28, 28), 33, np.float32), np.float32([1 / 255]))}
    save_checkpoint("digits.npz", net, inputs=inputs | {"classes": tuple("0123456789")})
    options = ["--args", "channels=1", "--weights", "digits.npz", "p.png", "--top", "10"]
    status, out, _ = predict(capsys, "own.py:build", *options)
    x = (read_image("p.png", 28, 28, channels=1)[None] - np.float32(33)) / np.float32(255)
    logits = net.eval().forward(x)[0].astype(float)
    expected = 100 * np.exp(logits) / np.exp(logits).sum()
    assert status == 0
    for shown, name in re.findall(r"([\d.]+)%  (\d)", out):
        assert float(shown) == pytest.approx(expected[int(name)], abs=0.02)


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


def test_evaluate_counts_what_the_net_gets_wrong_on_images_prepared_as_its_weights_ask(folder, capsys):
    train_set, test_set = synthetic()
    net = cifar_resnet(8, rng=0)
    inputs = {"normalisation": normalisation(train_set, "channel"), "classes": list(train_set.classes)}
    save_checkpoint("run.npz", net, inputs=inputs)
    error, loss = evaluate(net, test_set, normalise="channel")
    assert main(["evaluate", "resnet-8", "--weights", "run.npz", "--data", "synthetic"]) == 0
    said = capsys.readouterr().out
    assert f"{len(test_set):,} images of synthetic, test: error {error:.2%}, cross-entropy {loss:.4f}." in said
    save_weights(cifar_resnet(8, classes=100, rng=0), "hundred.npz", names="torchvision")
    assert main(["evaluate", "resnet-8", "--weights", "hundred.npz", "--data", "synthetic"]) == 2
    assert "resnet-8: tells 100 classes apart, and synthetic, test has 10. Choose" in capsys.readouterr().err


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
        (["resnet-8", "p.png"], "pretrained: .*; got 'resnet-8'.* Or give --weights FILE"),
        (["own.py:build", "p.png"], "pretrained: .*; got 'own.py:build'"),
        (["own.py:lost", "--weights", "own.npz", "p.png"], "predict: no lost in own.py"),
        (["nowhere.py:build", "--weights", "own.npz", "p.png"], "predict: no file nowhere.py"),
        (["own.py:number", "--weights", "own.npz", "p.png"], "number of own.py is not a function or class"),
        (
            ["own.py:maps", "--weights", "maps.npz", "p.png", "--preprocess", "cifar10"],
            r"expected y of shape \(N, classes\), .* got \(1, 16, 32, 32\)",
        ),
        (["resnet-8", "--weights", "akamaster.npz"], "required: IMAGE"),
        (["resnet-8", "--weights", "model.pth", "p.png"], "a pickle.*convert_torch_weights.py model.pth model.npz"),
        (["resnet-8", "--weights", "nowhere.npz", "p.png"], "nowhere.npz: no such file"),
        (["resnet-14", "--weights", "akamaster.npz", "p.png"], r"missing layer1.1.conv1.weight \(here stage1.1"),
        (["resnet-8", "--weights", "akamaster.npz", "q.png"], "no image q.png"),
        (["resnet-8", "--weights", "akamaster.npz", "names.txt"], "names.txt: not an image"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--preprocess", "vgg"], "invalid choice: 'vgg'"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--top", "0"], "argument --top: expected a whole number"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--classes", "no.txt"], "no.txt"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--classes", "p.png"], "p.png is not a text file"),
        (["resnet-8", "--weights", "akamaster.npz", "p.png", "--classes", "two.txt"], "expected 10 names.*got 2"),
        (
            ["resnet-8", "--weights", "nan.npz", "p.png", "--preprocess", "cifar10"],
            "linear.bias of numbers that are finite in float32, got NaN",
        ),
    ],
)
def test_wrong_uses_of_predict_are_answered_in_one_line(folder, capsys, arguments, message):
    (folder / "two.txt").write_text("cat\ndog\n")
    net = cifar_resnet(8, rng=0)
    net.linear.bias.data[0] = np.nan
    np.savez("nan.npz", **net.state_dict())
    (folder / "own.py").write_text(OWN)
    save_weights(cifar_resnet(8, rng=0).conv1, "maps.npz")
    status, _, err = predict(capsys, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert re.match(f"minires: .*{message}", err)
