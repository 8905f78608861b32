"""The machinery under the kernels: threads, and the cache of compiled code."""

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest

from minires import machine
from minires.kernels.machine import board, cores, memory, threads
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


def started(arguments, environment):
    environment = {name: value for name, value in (os.environ | environment).items() if value is not None}
    arguments = [sys.executable, *arguments]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)


def python(code, **environment):
    return started(["-c", code], environment)


def command(line, **environment):
    return started(["-m", "minires", *line.split()], environment)


def wait_until_asleep(worker):
    deadline = time.monotonic() + 30
    while not worker.asleep and time.monotonic() < deadline:
        time.sleep(0.001)
    assert worker.asleep


@pytest.fixture(params=[threads.share_out, board.share_out], ids=["executor", "board"])
def way(request, monkeypatch):
    """The definition of how work is shared out, and its faster twin."""
    monkeypatch.setattr(threads, "chosen", lambda: request.param)
    return request.param


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
        board._pause()
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


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_every_part_is_handled_once(way, monkeypatch, count, size):
    monkeypatch.setattr(cores, "_threads", count)
    values = np.zeros(size, np.int64)
    threads.over_threads(add_one, size, values)
    assert np.all(values == 1)


def test_parts_are_numbered_contiguous_and_the_same_every_time(way, monkeypatch):
    monkeypatch.setattr(cores, "_threads", 3)
    for _ in range(100):
        parts = np.zeros((3, 2), np.int64)
        threads.over_parts(note_parts, 10, parts)
        assert parts.tolist() == [[0, 3], [3, 6], [6, 10]]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_phase_sees_all_that_the_one_before_has_done(way, monkeypatch, count):
    monkeypatch.setattr(cores, "_threads", count)
    owners = np.repeat(np.arange(count), 40_000)
    threads.over_threads(add_one, 9, np.zeros(9, np.int64))
    for worker in board._workers:
        wait_until_asleep(worker)  # before that it may still be compiling what it watches with
    for _ in range(100):
        values, turned = np.arange(owners.size), np.zeros(owners.size, np.int64)
        threads.over_phases(double_then_turn_round, 2, owners.size, values, turned)
        assert np.array_equal(turned, 2 * np.arange(owners.size)[::-1] + owners)


def test_a_small_call_goes_through_its_phases_on_one_thread():
    values, turned = np.arange(5), np.zeros(5, np.int64)
    threads.over_phases(double_then_turn_round, 2, 5, values, turned, work=5)
    assert turned.tolist() == [8, 6, 4, 2, 0]


def test_a_small_call_stays_on_one_thread(monkeypatch):
    monkeypatch.setattr(cores, "_threads", 2)
    monkeypatch.setattr(board, "_workers", [])
    monkeypatch.setattr(board, "_Worker", lambda number: SimpleNamespace(asleep=False))
    for work, workers in ((threads.SMALL - 1, 0), (threads.SMALL, 1)):
        threads.over_threads(add_one, 10, np.zeros(10, np.int64), work=work)
        assert len(board._workers) == workers


def test_what_nobody_takes_the_caller_does(monkeypatch):
    monkeypatch.setattr(cores, "_threads", 3)
    monkeypatch.setattr(board, "_workers", [SimpleNamespace(asleep=False)] * 2)  # asleep before they are woken
    values = np.zeros(9, np.int64)
    threads.over_threads(add_one, 9, values)
    assert np.all(values == 1)


def test_sleepers_are_woken(monkeypatch):
    monkeypatch.setattr(cores, "_threads", 2)
    values = np.zeros(9, np.int64)
    threads.over_threads(add_one, 9, values)
    (worker, *_) = board._workers
    for _ in range(3):
        wait_until_asleep(worker)
        threads.over_threads(add_one, 9, values)
    assert np.all(values == 4)


@compiled
def meet(seen, met, part, start, stop):
    board._note(seen, part, 1)
    for _ in range(200_000_000):  # some 50 ms
        if board._look(seen, 1 - part) == 1:
            met[part] = 1
            break


@pytest.mark.skipif(os.cpu_count() < 2, reason="needs two cores")
@pytest.mark.parametrize("pause", [0, 100e-6, 300e-6, 3e-3])
def test_a_call_is_shared_whatever_the_other_thread_was_doing(monkeypatch, pause):
    """Awake, asleep, or about to fall asleep, for which it waits until this thread gives up the interpreter lock."""
    monkeypatch.setattr(cores, "_threads", 2)
    shared = 0
    for _ in range(10):
        until = time.perf_counter() + pause
        while time.perf_counter() < until:  # busy, unlike in time.sleep, which gives the lock away
            pass
        seen, met = np.zeros((2, 2), np.int64)
        threads.over_parts(meet, 2, seen, met)
        shared += met.all()
    assert shared >= 8


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_in_any_part_reaches_the_caller_and_the_pool_goes_on(way, monkeypatch, bad):
    monkeypatch.setattr(cores, "_threads", 2)
    with pytest.raises(ArithmeticError, match="in a part"):
        threads.over_parts(fails, 2, bad)
    values = np.zeros(2, np.int64)
    threads.over_threads(add_one, 2, values)
    assert np.all(values == 1)


@pytest.mark.parametrize("bad", [0, 1])
def test_what_is_raised_in_any_phase_is_raised_in_the_caller(way, monkeypatch, bad):
    monkeypatch.setattr(cores, "_threads", 2)
    with pytest.raises(ArithmeticError, match="in a phase"):
        threads.over_phases(fails_in_phase, 2, 2, bad)


def test_a_kernel_must_be_compiled_and_return_nothing_and_take_what_machine_code_can():
    with pytest.raises(TypeError, match=r"expected a function decorated with @compiled, got <function"):
        threads.over_threads(lambda values, start, stop: None, 4, np.zeros(4))

    with pytest.raises(TypeError, match="add_one: expected arrays, numbers and tuples of them, got dict"):
        threads.over_threads(add_one, 4, {})

    @compiled
    def counts(values, start, stop):
        return stop - start

    with pytest.raises(TypeError, match="counts: expected a kernel that returns nothing"):
        threads.over_threads(counts, 4, np.zeros(4))


def test_several_python_threads_may_call_at_once(way, monkeypatch):
    monkeypatch.setattr(cores, "_threads", 2)

    def call(seed):
        values = np.zeros(1000, np.int64)
        for _ in range(20):
            threads.over_threads(add_one, 1000, values)
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


# -- where threads cannot start, and where the board is not known -----------------------------------------------------


def no_more_threads(self):
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("started", [0, 1])
def test_where_threads_cannot_start_the_caller_does_all_parts(way, monkeypatch, capsys, started):
    monkeypatch.setattr(cores, "_threads", 4)
    monkeypatch.setattr(board, "_workers", [])
    monkeypatch.setattr(board, "_most_workers", 1023)
    threads.executor.cache_clear()
    start, left = threading.Thread.start, [None] * started
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: (left.pop(), start(self)) if left else no_more_threads(self)
    )
    for _ in range(3):
        parts = np.zeros((4, 2), np.int64)
        threads.over_parts(note_parts, 10, parts)
        assert parts.tolist() == [[0, 2], [2, 5], [5, 7], [7, 10]]
    threads.executor.cache_clear()
    assert capsys.readouterr().err.count("minires: this system starts no more threads (can't start new thread): ") == 1


def test_a_version_of_numba_that_the_board_does_not_know_is_named_and_the_definition_serves():
    code = (
        "import numba; numba.version_info = numba.version_info._replace(short=(9, 0)); numba.__version__ = '9.0.1'\n"
        "from minires.kernels.machine import threads; print(threads.chosen() is threads.share_out)"
    )
    result = python(code)
    assert result.stdout == "True\n", result.stderr
    first, last = (".".join(map(str, version)) for version in board.KNOWN)
    wanted = f"(known for Numba {first} to {last}, this is 9.0.1)\n"
    assert result.stderr.endswith(wanted) and result.stderr.count("\n") == 1


@pytest.mark.parametrize("threading", ["executor", "board"])
def test_both_ways_of_sharing_work_give_a_network_the_same_bits(threading):
    results = [python(ONE_STEP, MINIRES_NUM_THREADS="3", MINIRES_THREADING=way) for way in (threading, "executor")]
    assert results[0].stdout == results[1].stdout != "", results[0].stderr


# -- how many threads -------------------------------------------------------------------------------------------------

UNSET = dict(MINIRES_NUM_THREADS=None, NUMBA_NUM_THREADS=None, OMP_NUM_THREADS=None)


@pytest.mark.parametrize("text", ["0", "many", "-2", "1.5"])
def test_a_wrong_number_of_threads_is_named_by_the_first_kernel(text):
    result = python("import minires, numpy; minires.ReLU().forward(numpy.ones((9, 99999)))", MINIRES_NUM_THREADS=text)
    assert result.returncode != 0
    assert f"MINIRES_NUM_THREADS: expected a whole number of threads >= 1, got {text!r}." in result.stderr


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("MINIRES_NUM_THREADS", "abc", "a whole number of threads >= 1"),
        ("OMP_NUM_THREADS", "x,2", "a whole number of threads >= 1"),
        ("MINIRES_NUM_THREADS", "99999999999", "at most 1024 threads"),
        ("MINIRES_KERNELS", "wrong", "'reference' or 'compiled'"),
        ("MINIRES_THREADING", "tbb", "'board' or 'executor'"),
    ],
)
@pytest.mark.parametrize("line", ["doctor", "data", "summary resnet-20"])
def test_a_wrong_variable_is_one_line_of_any_command(line, name, value, expected):
    result = command(line, **UNSET | {name: value})
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"minires: {name}: expected {expected}, got {value!r}.\n"


def test_a_wrong_choice_of_kernels_is_named_by_the_first_kernel():
    result = python("import minires, numpy; minires.ReLU().forward(numpy.ones((2, 2)))", MINIRES_KERNELS="wrong")
    assert result.stderr.endswith("ValueError: MINIRES_KERNELS: expected 'reference' or 'compiled', got 'wrong'.\n")


def test_our_variable_comes_before_the_usual_ones():
    code = "from minires.kernels.machine.cores import num_threads; print(num_threads())"
    for wanted, environment in {
        "3": {"MINIRES_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"},
        "1": {"OMP_NUM_THREADS": "1"},
        "2": {"OMP_NUM_THREADS": "2,1"},
    }.items():
        assert python(code, **(UNSET | environment)).stdout.strip() == wanted


def system(folder, files):
    """A folder with some of the files of /proc and /sys."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


V2, V1, GROUP = "sys/fs/cgroup", "sys/fs/cgroup/cpu", "proc/self/cgroup"


@pytest.mark.parametrize(
    "files, quota",
    [
        ({GROUP: "0::/\n", f"{V2}/cpu.max": "200000 100000\n"}, 2),
        ({GROUP: "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, None),
        ({GROUP: "0::/\n", f"{V2}/cpu.max": "50000 100000\n"}, 0.5),
        # the narrowest of the groups around a process, as of a job on a cluster or a pod
        ({GROUP: "0::/pod/job\n", f"{V2}/pod/cpu.max": "150000 100000", f"{V2}/pod/job/cpu.max": "max 100000"}, 1.5),
        ({GROUP: "0::/../other\n", f"{V2}/cpu.max": "300000 100000"}, 3),  # seen from inside a container
        ({GROUP: "0::/\n"}, None),
        ({GROUP: "4:cpu,cpuacct:/\n", f"{V1}/cpu.cfs_quota_us": "400000\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 4),
        ({GROUP: "4:cpu:/\n", f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, None),
        (  # the path is the host's; the container sees its own group at the top
            {
                GROUP: "3:memory:/docker/ab\n4:cpuacct,cpu:/docker/ab\n0::/system\n",
                f"{V2}/cpuacct,cpu/cpu.cfs_quota_us": "100000",
                f"{V2}/cpuacct,cpu/cpu.cfs_period_us": "50000",
            },
            2,
        ),
        ({GROUP: "0::/\n", f"{V2}/cpu.max": "many\n"}, None),
        ({GROUP: "nonsense\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_is_read(tmp_path, files, quota):
    assert cores.cpu_quota(system(tmp_path, files)) == quota


@pytest.mark.parametrize("quota, count", [("50000", 1), ("150000", 2), ("200000", 2), ("max", 8), ("900000", 8)])
def test_threads_are_no_more_than_the_container_may_use(tmp_path, monkeypatch, quota, count):
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    root = system(tmp_path, {GROUP: "0::/\n", f"{V2}/cpu.max": f"{quota} 100000\n"})
    found, why = cores.threads_wanted(root)
    assert found == count
    assert ("the container may use" in why) == (count < 8)
    monkeypatch.setenv("MINIRES_NUM_THREADS", "5")
    assert cores.threads_wanted(root) == (5, "set by MINIRES_NUM_THREADS")


# -- the process that imports minires ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="asks the libraries of a Linux process")
@pytest.mark.parametrize("kernels", ["compiled", "reference"])
def test_importing_minires_leaves_the_threads_of_blas_alone(kernels):
    code = (
        "import numpy, ctypes\n"
        "library = next((line.split()[-1] for line in open('/proc/self/maps') if 'scipy_openblas64' in line), None)\n"
        "if not library: print('another BLAS'); raise SystemExit\n"
        "library = ctypes.CDLL(library)\n"
        "library.scipy_openblas_set_num_threads64_(3)\n"
        "import minires\n"
        "minires.Linear(5, 7).forward(numpy.ones((2, 5), numpy.float32))\n"
        "print(library.scipy_openblas_get_num_threads64_())"
    )
    got = python(code, MINIRES_KERNELS=kernels, OPENBLAS_NUM_THREADS="4").stdout.strip()
    if got == "another BLAS":
        pytest.skip(got)
    assert got == "3"


@pytest.mark.skipif(not hasattr(memory._libc(), "mallinfo2"), reason="asks glibc")
def test_freed_memory_is_kept_within_training_only_and_not_by_importing_minires():
    code = """
import ctypes, numpy as np, minires
from minires.kernels.machine.memory import keep_freed_memory

class Blocks(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks".split()]
    _fields_ += [(name, ctypes.c_size_t) for name in "uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Blocks

def from_the_system(megabytes):
    before = libc.mallinfo2().hblks
    x = np.empty(megabytes << 20, np.uint8)
    return libc.mallinfo2().hblks - before

def within(block):
    try:
        with keep_freed_memory(), keep_freed_memory():
            return from_the_system(30), block()
    except ZeroDivisionError:
        pass

print(from_the_system(30), within(int), within(lambda: 1 / 0), from_the_system(40))
"""
    assert python(code).stdout == "1 (0, 0) None 1\n"


@pytest.mark.parametrize("how", ["disabled", "missing", "too new", "broken"])
def test_without_numba_the_reference_serves_and_one_line_says_so(how, tmp_path):
    (tmp_path / "numba.py").write_text('raise OSError("libllvmlite.so: cannot open shared object file")')
    code = "import minires, numpy\nprint(minires.kernels.chosen, minires.ReLU().forward(numpy.array([-1.0, 2.0])))\n"
    before = {
        "disabled": "",
        "missing": "import sys; sys.modules['numba'] = None\n",
        "too new": "import numba.extending; del numba.extending.register_model\n",
        "broken": f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n",
    }
    result = python(before[how] + code, NUMBA_DISABLE_JIT="1" if how == "disabled" else "0")
    assert result.stdout == "reference [0. 2.]\n", result.stderr
    assert result.stderr.startswith("minires: no compiled kernels (") and result.stderr.count("\n") == 1


def test_where_numba_is_not_installed_runs_note_it(monkeypatch):
    def version(name):
        if name == "numba":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    versions = machine.machine()["versions"]
    assert versions["numba"] is None and versions["numpy"] == "1.0"


def test_doctor_says_why_there_are_no_compiled_kernels():
    result = command("doctor", NUMBA_DISABLE_JIT="1")
    assert result.returncode == 0
    assert "kernels     reference  (no compiled ones: NUMBA_DISABLE_JIT is set. " in result.stdout


def test_doctor_says_what_set_the_threads():
    for number, words in ((None, "one per core"), ("1", "set by MINIRES_NUM_THREADS")):
        out = command("doctor", MINIRES_KERNELS="reference", **UNSET | {"MINIRES_NUM_THREADS": number}).stdout
        assert words in next(line for line in out.splitlines() if line.startswith("threads"))


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
    assert first.stderr.count("\n") == 1 and "compiling kernels for this processor, about 20 s, once" in first.stderr
    assert second.stderr == ""
    another = python(SMALL.replace("float32", "float64"), NUMBA_CACHE_DIR=str(tmp_path)).stderr
    assert another.count("\n") == 1 and "those for what was not computed before, some seconds, once" in another


def test_without_home_and_with_a_cache_that_cannot_be_written_kernels_still_run(tmp_path):
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")
    places = dict.fromkeys(["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR", "HOME"], str(not_a_folder))
    result = python(SMALL, **places)
    assert result.stdout == "[0. 2.]\n", result.stderr


@pytest.fixture(scope="module")
def full_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    assert "compiling kernels" in python(SMALL, NUMBA_CACHE_DIR=str(folder)).stderr
    return folder


def cut(content):
    return content[:40]


def with_a_flipped_bit(place):
    return lambda content: content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [cut, *map(with_a_flipped_bit, (3, -150, -40, -1))])
def test_a_damaged_cache_counts_as_absent_and_is_written_anew(full_cache, tmp_path, damage, ending):
    shutil.copytree(full_cache, tmp_path, dirs_exist_ok=True)
    files = list(tmp_path.rglob(f"*_relu-*.{ending}"))
    assert files
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
    for wanted in ("compiling kernels", ""):
        result = python(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
        assert result.stdout == "[0. 2.]\n", result.stderr
        assert wanted in result.stderr and bool(wanted) == bool(result.stderr)
