"""No compiled kernel trusts a length: what would be read or written beyond an array is an error of one line."""


def expect(kernel, **found):
    """Raise unless each array, given as name=(array, shape), has this shape."""
    for name, (array, shape) in found.items():
        if array.shape != shape:
            raise ValueError(f"{kernel}: expected {name} of shape {tuple(shape)}, got {array.shape}.")
