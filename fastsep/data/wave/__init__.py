"""WaveEq and WaveEq-100: waves on a grid, made or read."""
