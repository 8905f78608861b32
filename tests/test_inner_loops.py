"""The innermost loops of the convolution, compiled for processors that are not here."""

import importlib
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from minires.kernels.machine.vectors import registers_of

SCRIPT = Path(__file__).parents[1] / "examples" / "inner_loops.py"
sys.path.insert(0, str(SCRIPT.parent))
inner_loops = importlib.import_module("inner_loops")

REGISTERS = {
    "haswell": (32, 16),
    "znver4": (64, 32),
    "sapphirerapids": (64, 32),
    "apple-m1": (16, 32),
    "neoverse-n1": (16, 32),
}


def skip_without(cpu):
    llvm.initialize_all_targets(), llvm.initialize_all_asmprinters()
    if cpu == "znver4" and llvm.llvm_version_info < (16,):
        pytest.skip("this LLVM is older than the processor")  # and ends the process when it is asked for it
    try:
        llvm.Target.from_triple(inner_loops.TARGETS[cpu])
    except RuntimeError:
        pytest.skip(f"this LLVM does not know the target {inner_loops.TARGETS[cpu]}")


@pytest.mark.parametrize("cpu", inner_loops.TARGETS)
def test_registers_are_those_of_the_processor_that_code_is_made_for(cpu):
    skip_without(cpu)
    assert registers_of(inner_loops.TARGETS[cpu], cpu) == REGISTERS[cpu]


def test_features_decide_over_the_name_of_a_processor():
    skip_without("znver4")
    assert registers_of(inner_loops.LINUX, "haswell", "+avx512f,+avx512vl") == (64, 32)
    assert registers_of(inner_loops.LINUX, "znver4", "-avx512f") == (32, 16)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", inner_loops.TARGETS)
def test_no_sum_leaves_its_register(cpu):
    skip_without(cpu)
    done = subprocess.run([sys.executable, SCRIPT, cpu], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"{4 * 3 if cpu == 'haswell' else 4 * 4} sums, 0 spilled") == 2, done.stdout


def test_a_sum_that_is_spilled_is_seen():
    loop = ".LBB0_1:\nvfmadd231ps %zmm1, %zmm2, %zmm3\nvmovups %zmm3, 64(%rsp)\njne .LBB0_1\n"
    assert inner_loops.spilled(inner_loops.innermost_loop(loop, 1)) == 1
    assert inner_loops.spilled(inner_loops.innermost_loop(loop.replace("%rsp", "%rax"), 1)) == 0
    with pytest.raises(ValueError, match="no loop that keeps 2 sums"):
        inner_loops.innermost_loop(loop, 2)
