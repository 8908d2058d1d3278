"""Moving MNIST: digits that bounce, drawn as they are asked for."""
