"""The innermost loops of the convolution as machine code, for processors that are not here.

    python examples/inner_loops.py [haswell znver4 sapphirerapids apple-m1 neoverse-n1]

For each processor the loops of ``multiply`` and ``multiply_transposed`` (kernels/compiled/planes.py) are compiled with
the registers it has. Each must keep its sums in registers: what would be a store to the stack, or a load from there,
is counted as spilled, and the script fails. Where llvm-mca is installed (the package llvm), it tells how many cycles
its model of that processor needs for each multiply-add of vectors, beside the least: the same multiply-adds alone.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

LINUX, MAC = "x86_64-unknown-linux-gnu", "arm64-apple-darwin"
TARGETS = {
    "haswell": LINUX,
    "znver4": LINUX,
    "sapphirerapids": LINUX,
    "apple-m1": MAC,
    "neoverse-n1": "aarch64-unknown-linux-gnu",
}
LIKE = {"znver4": "znver3"}  # what an older llvm-mca may know instead
MULTIPLY_ADD = re.compile("vfmadd[0-9]+ps|fmla")
ON_STACK = re.compile(r"\(%rsp|\[sp\b")
VECTOR = re.compile(r"%[xyz]mm|\bq\d+|\bv\d+\.")


def assembly_of(triple, cpu):
    """Compile the two products for this processor; return (vectors of sums, assembly). In a process of its own."""
    os.environ.update(MINIRES_KERNELS="reference", NUMBA_CACHE_DIR=tempfile.mkdtemp())  # nothing of this is kept
    import llvmlite.binding as llvm
    import numba

    from minires.kernels.machine import compiler, vectors

    llvm.initialize_all_targets(), llvm.initialize_all_asmprinters()
    vectors.BYTES, vectors.REGISTERS = vectors.registers_of(triple, cpu)
    from minires.kernels.compiled import planes

    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
    texts = []
    matrix, line, places = numba.float32[:, ::1], numba.float32[::1], numba.int64[::1]
    two = numba.types.UniTuple(numba.intp, 2)
    for kernel, kinds in (
        (planes.multiply, (matrix, line, line, places, two, matrix, two, numba.boolean)),
        (planes.multiply_transposed, (matrix, two, line, places, matrix)),
    ):
        fresh = numba.njit(error_model="numpy", fastmath=compiler.FASTMATH)(kernel.py_func)
        fresh.compile(kinds)
        text = re.sub(r'target (triple|datalayout) = ".*"\n', "", fresh.inspect_llvm(kinds))
        text = re.sub(r'"target-(cpu|features)"="[^"]*"', "", text)
        text = re.sub(r"(?s)define [^\n]*@(NRT_\w+)\(.*?\n}\n", r"declare void @\1(ptr)\n", text)  # counts references
        module = llvm.parse_assembly(text)
        module.triple, module.data_layout = triple, str(machine.target_data)
        texts.append(machine.emit_assembly(module))
    return planes.TALL * planes.WIDE, texts


def innermost_loop(assembly, sums):
    """The instructions of the loop that adds products to so many registers."""
    lines = [re.sub("(//|##).*", "", line).strip() for line in assembly.splitlines()]
    labels = {line[:-1]: number for number, line in enumerate(lines) if line.endswith(":")}
    loops = []
    for number, line in enumerate(lines):
        jump = re.match(r"(j\w+|b\.?\w*|cbn?z|tbn?z)\s.*?([.L]\w+)$", line)
        body = lines[labels.get(jump[2], number) + 1 : number] if jump else []
        body = [text for text in body if text and text[0] not in ".#"]
        added = {re.search(r"%\w+$|v\d+", text)[0] for text in body if MULTIPLY_ADD.match(text)}
        if len(added) == sums and not any(text.endswith(":") for text in body):
            loops.append(body)
    if not loops:
        raise ValueError(f"There is no loop that keeps {sums} sums in registers.")
    return min(loops, key=len)


def spilled(loop):
    """How often the loop stores a vector on the stack, or loads one from there."""
    return sum(bool(ON_STACK.search(line) and VECTOR.search(line)) for line in loop)


def cycles(instructions, triple, cpu):
    """Cycles for one round of a loop in llvm-mca's model, or None where there is none."""
    if not shutil.which("llvm-mca"):
        return None
    for name in (cpu, LIKE.get(cpu, cpu)):
        command = ["llvm-mca", f"-mtriple={triple}", f"-mcpu={name}", "-iterations=100"]
        done = subprocess.run(command, input="\n".join(instructions), capture_output=True, text=True)
        found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
        if found and "not a recognized processor" not in done.stderr:
            return int(found[1]) / 100
    return None


def examine(cpu):
    """Yield (name, number of sums, spilled, cycles, least cycles) of both loops; cycles of each multiply-add."""
    triple = TARGETS[cpu]
    sums, texts = assembly_of(triple, cpu)
    for name, text in zip(("multiply", "multiply_transposed"), texts):
        loop = innermost_loop(text, sums)
        products = [line for line in loop if MULTIPLY_ADD.match(line)]
        alone = [re.sub(r"\S*\(\S*\)(\{\w+\})?", r"%zmm31", line) for line in products]  # without what it reads
        taken = [cycles(lines, triple, cpu) for lines in (loop, alone)]
        yield name, sums, spilled(loop), *(time and time / len(products) for time in taken)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processors", nargs="*", metavar="processor", help=f"of {', '.join(TARGETS)}; default: all")
    chosen = parser.parse_args(argv).processors or list(TARGETS)
    if len(chosen) > 1:  # registers are chosen once in a process
        return max(subprocess.run([sys.executable, __file__, cpu]).returncode for cpu in chosen)
    (cpu,) = chosen
    if cpu not in TARGETS:
        parser.error(f"expected processors of {', '.join(TARGETS)}, got {cpu!r}.")
    failed = False
    for name, sums, lost, taken, least in examine(cpu):
        speed = f"{taken:.2f} cycles for each multiply-add, at least {least:.2f}" if taken else "no model of it here"
        print(f"{cpu:15} {name:20} {sums} sums, {lost} spilled; {speed}")
        failed |= lost > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
