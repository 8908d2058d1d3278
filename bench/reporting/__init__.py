"""From results to text and pictures; ``python -m bench.report`` writes them."""
