"""The naive PyTorch implementation that everything is measured against."""
