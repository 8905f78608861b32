"""Turn a PyTorch weight file (.pth, .pt) into one that holds arrays and nothing else, .npz or .safetensors::

    python examples/convert_torch_weights.py resnet18.pth resnet18.npz
    minires predict resnet18 --weights resnet18.npz cat.jpg

It needs torch, and nothing of minires: run it wherever torch is. A .pth file is a pickle, which may ask for any
function to be called; torch.load(weights_only=True) refuses all but tensors and plain containers.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

INSIDE = ("state_dict", "model_state_dict", "model", "net", "weights")  # where training scripts put the state dict


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Turn a PyTorch weight file into .npz or .safetensors.")
    parser.add_argument("source", type=Path, help=".pth, .pt, ...: a state dict, or a checkpoint with one in it")
    parser.add_argument("target", type=Path, help="the file to write, .npz or .safetensors")
    options = parser.parse_args(arguments)
    if options.target.suffix not in (".npz", ".safetensors"):
        parser.error(f"expected a target that ends in .npz or .safetensors, got {options.target}")
    try:
        arrays = read(options.source)
        write(options.target, arrays)
    except (ValueError, OSError, ImportError) as error:
        print(f"convert_torch_weights: {error}", file=sys.stderr)
        return 1
    numbers = sum(array.size for array in arrays.values())
    print(f"{options.target}: {len(arrays)} arrays, {numbers:,} numbers")
    return 0


def read(path):
    """Return {name: array} of the tensors in a file of torch, half precision as float32, without "module."."""
    import torch

    if not path.is_file():
        raise FileNotFoundError(f"no file {path}. Is the path right?")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file, or one with more in it than tensors
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path}: not opened, as it is damaged or holds more than tensors ({why}). If you trust it, open it "
            "yourself and save the tensors alone: torch.save(model.state_dict(), file)."
        ) from None
    while isinstance(content, dict) and any(isinstance(content.get(key), dict) for key in INSIDE):
        content = next(content[key] for key in INSIDE if isinstance(content.get(key), dict))
    if not isinstance(content, dict) or not tensors_in(content, torch):
        got = f"one with {', '.join(map(str, content))}" if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path}: expected a dict of tensors, got {got}. Save model.state_dict().")
    return {name.removeprefix("module."): array(tensor, torch) for name, tensor in tensors_in(content, torch).items()}


def tensors_in(content, torch):
    return {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}


def array(tensor, torch):
    """A contiguous copy: safetensors would write the memory of a transposed view as it lies."""
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    return np.array(tensor.detach().numpy(), order="C")


def write(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return
    from safetensors.numpy import save_file

    save_file(arrays, path)


if __name__ == "__main__":
    sys.exit(main())
