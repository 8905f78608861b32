"""A block, or any layer made of layers, as a diagram: drawn from the object itself."""
