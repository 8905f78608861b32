"""The stopwatch: what it counts is known beforehand, and the other engine does the same work or is not compared."""

import json
import sys
from importlib.util import find_spec
from shutil import which

import numpy as np
import pytest

from minires import Conv2d, Layer, Sequential, cli, kernels
from minires import bench as bench_module
from minires.bench import _same_work, bench, described, report_text
from minires.bench.engine import Engine
from minires.bench.ours import MiniresWork, amount_of_work, timed_kernels
from minires.commands.bench import built
from minires.networks import network
from minires.walk import summary

BATCH = 4


@pytest.fixture(scope="module")
def report():
    return bench("resnet-8", batch=BATCH, input_shape=(3, 16, 16), repeat=2)


def calls(report, operator):
    return sum(row["calls"] for row in report["operators"] if row["operator"] == operator)


def test_every_operator_is_called_as_often_as_the_network_has_layers(report):
    # resnet-8: 7 convolutions, each with a batch norm and a ReLU; 3 blocks, each adding forward and backward
    for operator in (
        "conv2d",
        "conv2d_input_gradient",
        "conv2d_weight_gradient",
        "batchnorm_backward",
        "relu_backward",
    ):
        assert calls(report, operator) == 7
    assert calls(report, "add") == 6
    assert calls(report, "SGD step") == 1


def test_operations_are_twice_the_multiply_adds_of_the_walk(report):
    net = network("resnet-8", rng=0)
    convolutions = summary(net, (3, 16, 16)).multiply_adds - net.linear.weight.data.size
    rows = [row for row in report["operators"] if row["operator"] == "conv2d"]
    assert sum(row["flops"] * row["calls"] for row in rows) == 2 * BATCH * convolutions


def test_times_are_counted_and_add_up(report):
    minires = report["engines"]["minires"]
    low, high = minires["train_quartiles_ms"]
    assert 0 < low <= minires["train_ms"] <= high
    assert 0 < minires["infer_ms"] < minires["start_s"] * 1e3
    assert np.shape(minires["train_all_s"]) == (2, bench_module.STEPS - 1)
    assert all(row["ms"] > 0 for row in report["operators"] if row["operator"] != "all else")
    totals = [row["ms"] / row["share"] for row in report["operators"]]
    np.testing.assert_allclose(totals, totals[0])


def test_peak_memory_is_that_of_a_process_with_numpy_and_little_else(report):
    peak = report["engines"]["minires"]["peak_bytes"]
    assert peak is None or 20 < peak / 2**20 < 2000


def test_the_report_reads_as_a_page(report):
    text = report_text(report | {"cold_start_s": 12.34})
    assert text.startswith("resnet-8, batch of 4 x 3x16x16, float32\n")
    assert report["machine"]["cpu"] in text
    assert "minires starts in 12.3 s" in text
    assert "3x3/2, 16 to 32 channels, 16x16" in text
    assert "GFLOP/s" in text and "GB/s" in text and "torch" not in text


def test_ratios_are_to_the_fastest_and_the_smallest(report):
    ours = report["engines"]["minires"] | {"peak_bytes": 100}
    slow = ours | {"train_ms": 9e9, "train_ratio": 0.1, "infer_ratio": 0.2, "infer_ms": 1e-9, "peak_bytes": 80}
    quick = ours | {"train_ms": 1e-9, "train_ratio": 0.7, "infer_ratio": 0.8, "infer_ms": 9e9, "peak_bytes": 200}
    engines = {"minires": ours, "torch": slow, "torch channels_last": quick}
    text = report_text(report | {"engines": engines, "torch": "2.0"})
    assert "training step 0.70, inference 0.20, peak memory 1.25" in text


def test_a_product_of_matrices_counts_two_operations_for_each_multiply_add():
    x, weight, y = np.zeros((3, 5)), np.zeros((7, 5)), np.zeros((3, 7))
    wanted = {"flops": 2 * 3 * 5 * 7, "bytes": 8 * (15 + 35 + 21)}
    assert amount_of_work("linear", (x, weight, np.zeros(7)), y) == ("5", wanted)
    assert amount_of_work("linear_input_gradient", (y, weight), x) == ("7", wanted)
    assert amount_of_work("linear_weight_gradient", (y, x), weight) == ("7", wanted)


def test_bytes_are_those_of_the_images_read_and_written():
    x = np.zeros((2, 3, 4, 5), np.float32)
    shape, amount = amount_of_work("batchnorm_backward", (x, x, np.zeros(3), np.zeros(3), np.zeros(3)), (x, 0, 0))
    assert (shape, amount) == ("3x4x5", {"bytes": 3 * x.nbytes})


def test_kernels_are_put_back_even_if_a_layer_raises():
    before = kernels.relu
    with pytest.raises(RuntimeError), timed_kernels({}, {}):
        assert kernels.relu is not before
        raise RuntimeError
    assert kernels.relu is before


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"name": "resnet-21"}, "6n"),
        ({"name": "resnet-8", "batch": 0}, "expected batch, a whole number of at least 1, got 0"),
        ({"name": "resnet-8", "repeat": 0}, "expected repeat, a whole number of at least 1"),
        ({"name": "resnet-8", "against": "jax"}, "expected against='torch' or None, got 'jax'"),
    ],
)
def test_wrong_arguments_are_named_before_anything_runs(wrong, message):
    with pytest.raises(ValueError, match=message):
        bench(**wrong)


def test_a_missing_torch_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(bench_module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs PyTorch, which is not installed"):
        bench("resnet-8", against="torch")


def test_a_process_that_dies_says_how():
    with pytest.raises(ChildProcessError, match="process of torch ended .exit status 3"):
        Engine("torch", ["-c", "import os; os._exit(3)"], ())
    if sys.platform != "win32":
        with pytest.raises(ChildProcessError, match="killed: out of memory"):
            Engine("torch", ["-c", "import os; os.kill(os.getpid(), 9)"], ())


def test_an_error_of_a_layer_comes_through_as_one_line():
    with pytest.raises(ValueError, match=r"Conv2d.* expected x of shape .N, 3, H, W., got .4, 2, 8, 8."):
        bench("resnet-8", batch=4, input_shape=(2, 8, 8))


def test_engines_that_do_different_work_are_not_compared():
    class Fake:
        def __init__(self, title, losses):
            self.title, self.answer = title, {"losses": losses}

    net = network("resnet-8", rng=0)
    _same_work([Fake("minires", [2.0, 1.9]), Fake("torch", [2.0001, 1.9])], net)
    with pytest.raises(ValueError, match="minires and torch do not do the same work"):
        _same_work([Fake("minires", [2.0, 1.9]), Fake("torch", [2.0, 1.8])], net)  # the same loss, another gradient
    with pytest.raises(ValueError, match="TORCHINDUCTOR_CACHE_DIR"):  # code compiled for AVX-512, run with AVX2 alone
        _same_work([Fake("minires", [2.0, 1.9]), Fake("torch compiled", [2.0, np.nan])], net)


def test_a_layer_is_described_by_what_its_constructor_takes():
    class Student(Layer):
        pass

    kind, arguments, parts = described(Conv2d(2, 4, 3, stride=(1, 2), groups=2, bias=False, rng=0))
    assert (kind, arguments["stride"], arguments["groups"], arguments["bias"], parts) == (
        "Conv2d",
        (1, 2),
        2,
        False,
        [],
    )
    with pytest.raises(ValueError, match="does not know what Student is in PyTorch"):
        described(Sequential(Student()))


PLAIN = ["minires", "torch", "torch channels_last"]
COMPILED = ["torch compiled", "torch compiled channels_last", "torch compiled channels_last bfloat16"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("name", ["plain-8", "resnet-8-A", "resnet-8-B", "preact-8", "wrn-10-1-dropout0.3"])
def test_pytorch_does_the_same_work(name, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    report = bench(name, batch=BATCH, repeat=1, against="torch")
    assert list(report["engines"]) == [*PLAIN, "torch channels_last bfloat16"]
    text = report_text(report)
    assert "minires / fastest (smallest) torch: training step" in text
    assert "torch.compile needs the C++ compiler no-such-compiler, which is not installed" in text


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None or not which("g++"), reason="PyTorch or g++ is not installed")
def test_compiled_pytorch_does_the_same_work_as_the_net_of_a_file(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from minires import *\n\ndef build(classes):\n"
        "    return Sequential(Conv2d(3, 4, 3), BatchNorm2d(4), ReLU(), GlobalAvgPool2d(), Linear(4, classes))\n"
    )
    report = bench(f"{file}:build(7)", batch=BATCH, repeat=1, against="torch", build=built)
    assert list(report["engines"]) == [*PLAIN, *COMPILED] and report["classes"] == 7
    assert "minires / fastest (smallest) torch.compile: training step" in report_text(report)


def test_the_ratio_to_compiled_pytorch_is_apart_and_sixteen_bits_have_none(report):
    ours = report["engines"]["minires"]

    def engine(ratio):
        return ours | {"train_ms": 1 / ratio, "train_ratio": ratio, "infer_ms": 1 / ratio, "infer_ratio": ratio}

    titles = ["torch", "torch channels_last", "torch compiled", "torch compiled channels_last", "torch bfloat16"]
    engines = {"minires": ours} | {title: engine(i / 4) for i, title in enumerate(titles, start=1)}
    text = report_text(report | {"engines": engines, "torch": "2.0", "left_out": "why"})
    assert "torch: training step 0.50, inference 0.50" in text
    assert "torch.compile: training step 1.00, inference 1.00" in text
    assert "1.25" not in text and "bfloat16 torch multiplies numbers of 16 bits" in text and "\nwhy\n" in text


def test_the_command_takes_a_net_of_a_file_with_arguments(tmp_path, capsys):
    file = tmp_path / "net.py"
    file.write_text("from minires import GlobalAvgPool2d, Linear, Sequential\n\ndef build(n, m):\n"
                    "    return Sequential(GlobalAvgPool2d(), Linear(3, n * m))\n")  # fmt: skip
    command = ["bench", f"{file}:build", "--args", "2, m=3", "--batch", "4", "--input", "3,8,8", "--repeat", "1"]
    assert cli.main(command) == 0
    assert f"{file}:build(2, m=3), batch of 4 x 3x8x8" in capsys.readouterr().out
    assert cli.main(["bench", f"{file}:no"]) == 2
    assert "bench: no no in" in capsys.readouterr().err


def test_operators_of_blocks_left_out_now_and_then_are_timed():
    rows = MiniresWork("stochastic-depth-14", 2, (3, 8, 8), 10).operators(4)
    assert {"conv2d", "loss", "all else"} <= {row["operator"] for row in rows}


def test_the_benchmark_imports_no_torch_into_this_process():
    assert "torch" not in sys.modules


def test_the_command_prints_a_page_and_writes_the_numbers(report, monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr("minires.commands.bench.bench", lambda *arguments: asked.append(arguments) or report)
    file = tmp_path / "times.json"
    assert cli.main(["bench", "resnet-8", "plain-8", "--input", "3,16,16", "--cold", "--json", str(file)]) == 0
    assert asked == [(name, 128, (3, 16, 16), None, 10, None, True, built) for name in ("resnet-8", "plain-8")]
    assert capsys.readouterr().out.count(report_text(report)) == 2
    assert json.loads(file.read_text()) == [report, report]


def test_the_command_finds_out_early_that_it_cannot_write(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("minires.commands.arguments.os.access", lambda *_: False)  # as root everything is allowed
    places = [
        ("no/such/folder/times.json", "no folder"),
        (tmp_path, "expected the name of a file"),
        (tmp_path / "t.json", "cannot be"),
    ]
    for place, message in places:
        assert cli.main(["bench", "--json", str(place)]) == 2
        assert message in capsys.readouterr().err
