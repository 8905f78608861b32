"""Does the order of batch norm, ReLU and convolution matter more in a deeper net?"""
