"""What the compiled kernels stand on: vectors, the compiler and its cache, threads, memory. LLVM is met only here."""
