"""What a computer offers: device and arithmetic, memory, compilers."""
