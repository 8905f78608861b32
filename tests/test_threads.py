"""The machinery under the kernels: threads, and the cache of compiled code."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from minires.kernels.machine import threads as parallel
from minires.kernels.machine.compiler import compiled

ONE_STEP = """
import numpy as np
from minires import SGD, cifar_resnet, softmax_cross_entropy
net = cifar_resnet(8, rng=0)
x = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
loss, dlogits = softmax_cross_entropy(net.forward(x), np.arange(4))
net.backward(dlogits)
print(repr(float(sum(np.abs(p.grad).sum() for p in net.parameters()))))
"""


def python(code, **environment):
    environment = {name: value for name, value in (os.environ | environment).items() if value is not None}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)


def wait_until_asleep(worker):
    deadline = time.monotonic() + 30
    while not worker.asleep and time.monotonic() < deadline:
        time.sleep(0.001)
    assert worker.asleep


@compiled
def add_one(values, start, stop):
    for i in range(start, stop):
        values[i] += 1


@compiled
def note_parts(parts, part, start, stop):
    parts[part, 0], parts[part, 1] = start, stop


@compiled
def double_then_turn_round(values, turned, phase, part, start, stop):
    for _ in range(1000 * part if phase == 0 else 0):  # the caller, part 0, is done first
        parallel._pause()
    for i in range(start, stop):
        if phase == 0:
            values[i] *= 2
        else:
            turned[i] = values[values.size - 1 - i] + part


@compiled
def fails_in_phase(bad, phase, part, start, stop):
    if phase == bad and part == 0:
        raise ArithmeticError("in a phase")


@compiled
def fails(bad, part, start, stop):
    if start <= bad < stop:
        raise ArithmeticError("in a part")


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_every_part_is_handled_once(monkeypatch, threads, size):
    monkeypatch.setattr(parallel, "_THREADS", threads)
    values = np.zeros(size, np.int64)
    parallel.over_threads(add_one, size, values)
    assert np.all(values == 1)


def test_parts_are_numbered_contiguous_and_the_same_every_time(monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", 3)
    for _ in range(100):
        parts = np.zeros((3, 2), np.int64)
        parallel.over_parts(note_parts, 10, parts)
        assert parts.tolist() == [[0, 3], [3, 6], [6, 10]]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_phase_sees_all_that_the_one_before_has_done(monkeypatch, threads):
    monkeypatch.setattr(parallel, "_THREADS", threads)
    owners = np.repeat(np.arange(threads), 40_000)
    parallel.over_threads(add_one, 9, np.zeros(9, np.int64))
    for worker in parallel._workers:
        wait_until_asleep(worker)  # before that it may still be compiling what it watches with
    for _ in range(100):
        values, turned = np.arange(owners.size), np.zeros(owners.size, np.int64)
        parallel.over_phases(double_then_turn_round, 2, owners.size, values, turned)
        assert np.array_equal(turned, 2 * np.arange(owners.size)[::-1] + owners)


def test_a_small_call_goes_through_its_phases_on_one_thread():
    values, turned = np.arange(5), np.zeros(5, np.int64)
    parallel.over_phases(double_then_turn_round, 2, 5, values, turned, work=5)
    assert turned.tolist() == [8, 6, 4, 2, 0]


def test_a_small_call_stays_on_one_thread(monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", 2)
    monkeypatch.setattr(parallel, "_workers", [])
    monkeypatch.setattr(parallel, "_Worker", lambda number: SimpleNamespace(asleep=False))
    for work, workers in ((parallel.SMALL - 1, 0), (parallel.SMALL, 1)):
        parallel.over_threads(add_one, 10, np.zeros(10, np.int64), work=work)
        assert len(parallel._workers) == workers


def test_what_nobody_takes_the_caller_does(monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", 3)
    monkeypatch.setattr(parallel, "_workers", [SimpleNamespace(asleep=False)] * 2)  # asleep before they are woken
    values = np.zeros(9, np.int64)
    parallel.over_threads(add_one, 9, values)
    assert np.all(values == 1)


def test_sleepers_are_woken(monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", 2)
    values = np.zeros(9, np.int64)
    parallel.over_threads(add_one, 9, values)
    (worker, *_) = parallel._workers
    for _ in range(3):
        wait_until_asleep(worker)
        parallel.over_threads(add_one, 9, values)
    assert np.all(values == 4)


@compiled
def meet(seen, met, part, start, stop):
    parallel._note(seen, part, 1)
    for _ in range(200_000_000):  # some 50 ms
        if parallel._look(seen, 1 - part) == 1:
            met[part] = 1
            break


@pytest.mark.skipif(os.cpu_count() < 2, reason="needs two cores")
@pytest.mark.parametrize("pause", [0, 100e-6, 300e-6, 3e-3])
def test_a_call_is_shared_whatever_the_other_thread_was_doing(monkeypatch, pause):
    """Awake, asleep, or about to fall asleep, for which it waits until this thread gives up the interpreter lock."""
    monkeypatch.setattr(parallel, "_THREADS", 2)
    shared = 0
    for _ in range(10):
        until = time.perf_counter() + pause
        while time.perf_counter() < until:  # busy, unlike in time.sleep, which gives the lock away
            pass
        seen, met = np.zeros((2, 2), np.int64)
        parallel.over_parts(meet, 2, seen, met)
        shared += met.all()
    assert shared >= 8


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_in_any_part_reaches_the_caller_and_the_pool_goes_on(monkeypatch, bad):
    monkeypatch.setattr(parallel, "_THREADS", 2)
    with pytest.raises(ArithmeticError, match="in a part"):
        parallel.over_parts(fails, 2, bad)
    values = np.zeros(2, np.int64)
    parallel.over_threads(add_one, 2, values)
    assert np.all(values == 1)


@pytest.mark.parametrize("bad", [0, 1])
def test_what_is_raised_in_any_phase_is_raised_in_the_caller(monkeypatch, bad):
    monkeypatch.setattr(parallel, "_THREADS", 2)
    with pytest.raises(ArithmeticError, match="in a phase"):
        parallel.over_phases(fails_in_phase, 2, 2, bad)


def test_a_kernel_must_be_compiled_and_return_nothing_and_take_what_machine_code_can():
    with pytest.raises(TypeError, match=r"expected a function decorated with @compiled, got <function"):
        parallel.over_threads(lambda values, start, stop: None, 4, np.zeros(4))

    with pytest.raises(TypeError, match="add_one: expected arrays, numbers and tuples of them, got dict"):
        parallel.over_threads(add_one, 4, {})

    @compiled
    def counts(values, start, stop):
        return stop - start

    with pytest.raises(TypeError, match="counts: expected a kernel that returns nothing"):
        parallel.over_threads(counts, 4, np.zeros(4))


def test_several_python_threads_may_call_at_once(monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", 2)

    def call(seed):
        values = np.zeros(1000, np.int64)
        for _ in range(20):
            parallel.over_threads(add_one, 1000, values)
        return values

    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(call, range(8)):
            assert np.all(values == 20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_the_same_and_does_not_hang():
    code = ONE_STEP + (
        "import os, sys\nsys.stdout.flush()\nif os.fork() == 0:\n"
        + "\n".join("    " + line for line in ONE_STEP.strip().splitlines())
        + "\n    sys.stdout.flush(); os._exit(0)\nos.wait()\n"
    )
    result = python(code, MINIRES_NUM_THREADS="2")
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.split()
    assert first == second


@pytest.mark.parametrize("text", ["0", "many", "-2", "1.5"])
def test_a_wrong_number_of_threads_is_named(text):
    result = python("import minires", MINIRES_NUM_THREADS=text)
    assert result.returncode != 0
    assert f"MINIRES_NUM_THREADS: expected a whole number of threads >= 1, got {text!r}." in result.stderr


def test_our_variable_comes_before_the_usual_ones():
    code = "from minires.kernels.machine.threads import num_threads; print(num_threads())"
    unset = dict(MINIRES_NUM_THREADS=None, NUMBA_NUM_THREADS=None, OMP_NUM_THREADS=None)
    for wanted, environment in {
        "3": {"MINIRES_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"},
        "1": {"OMP_NUM_THREADS": "1"},
        "2": {"OMP_NUM_THREADS": "2,1"},
    }.items():
        assert python(code, **(unset | environment)).stdout.strip() == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="BLAS is told on Linux only")
def test_blas_leaves_the_cores_to_our_kernels_and_takes_them_for_the_reference():
    code = (
        "import numpy, ctypes, minires\n"
        "library = next((line.split()[-1] for line in open('/proc/self/maps') if 'scipy_openblas64' in line), None)\n"
        "print(ctypes.CDLL(library).scipy_openblas_get_num_threads64_() if library else 'another BLAS')"
    )
    for kernels, threads, wanted in (("compiled", "2", "1"), ("reference", "1", "1"), ("reference", "2", "2")):
        environment = dict(MINIRES_KERNELS=kernels, MINIRES_NUM_THREADS=threads, OPENBLAS_NUM_THREADS="2")
        got = python(code, **environment).stdout.strip()
        if got == "another BLAS":
            pytest.skip(got)
        assert got == wanted


# -- the cache --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_eight_processes_fill_one_cold_cache(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: python(ONE_STEP, NUMBA_CACHE_DIR=str(tmp_path)), range(8)))
    assert [result.returncode for result in results] == [0] * 8
    assert len({result.stdout for result in results}) == 1
    warm = python(ONE_STEP, NUMBA_CACHE_DIR=str(tmp_path))
    assert warm.stdout == results[0].stdout and "compiling" not in warm.stderr


SMALL = """
import numpy as np
from minires.kernels.compiled import elementwise
print(elementwise.relu(np.array([-1.0, 2.0], np.float32)))
"""


def test_first_use_is_announced_in_one_line_and_the_second_is_silent(tmp_path):
    first, second = (python(SMALL, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.stdout == second.stdout == "[0. 2.]\n"
    assert first.stderr.count("\n") == 1 and "compiling kernels" in first.stderr
    assert second.stderr == ""


def test_without_home_and_with_a_cache_that_cannot_be_written_kernels_still_run(tmp_path):
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")
    places = dict.fromkeys(["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR", "HOME"], str(not_a_folder))
    result = python(SMALL, **places)
    assert result.stdout == "[0. 2.]\n", result.stderr


def test_a_damaged_cache_counts_as_absent(tmp_path):
    python(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    files = [file for ending in ("nbi", "nbc") for file in tmp_path.rglob(f"*.{ending}")]
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:40])
    result = python(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    assert result.stdout == "[0. 2.]\n", result.stderr
