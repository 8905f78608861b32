"""The kernels that are compiled: the arithmetic, and nothing of the machine it runs on."""
