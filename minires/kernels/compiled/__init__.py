"""The kernels that are compiled: the arithmetic, and nothing of the machine it runs on. What each computes, and from
which arguments, is said in kernels/reference.py.
"""
