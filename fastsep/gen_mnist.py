"""Write Moving MNIST's test videos to a file: ``python -m fastsep.gen_mnist --out FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from fastsep import cli
from fastsep.data.mnist import TEST_SEED, MovingMNIST
from fastsep.data.mnist_videos import write_videos
from fastsep.progress import progress_bar


def main() -> None:
    """Parse, draw, write."""
    tyro.cli(_generate, prog="python -m fastsep.gen_mnist")


def _generate(
    out: Path,
    data: Path | None = None,
    digits: Literal["mnist", "sklearn"] = "mnist",
    n_digits: int = 2,
    grid: int = 64,
    speed: int = 4,
    stochastic: bool = False,
    videos: int = 5_000,
    frames: int = 100,
    seed: int = TEST_SEED,
) -> None:
    """Write Moving MNIST's test videos, with the digits and positions that they are made of, as HDF5.

    Args:
        out: File to write; 2 GB for the published 5,000 videos of 100 frames.
        data: Directory of MNIST's four IDX files [data/mnist]; fetched into it if absent.
        digits: Images of digits: MNIST, or the ones bundled with scikit-learn, enlarged.
        n_digits: Digits of a video, 1 to 3.
        grid: Height and width of a frame in pixels.
        speed: Largest speed along an axis, in pixels a frame.
        stochastic: Draw a new speed at each bounce.
        videos: Videos.
        frames: Frames of a video.
        seed: Seed of the draws; 42 gives the authors' videos.
    """
    config = MovingMNIST(
        data=data, digits=digits, n_digits=n_digits, grid=grid, speed=speed, stochastic=stochastic,
        test_videos=videos, test_frames=frames,
    )  # fmt: skip
    scene = config.draw_test_scene(seed)
    write_videos(scene, out, lambda chunks, total: progress_bar(chunks, total=total, unit="chunk", desc="rendering"))
    print(f"{out}: {videos} videos of {frames} frames, {scene.source}")


if __name__ == "__main__":
    cli.run(main)
