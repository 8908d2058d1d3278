"""Write Moving MNIST's test videos to a file: ``python -m fastsep.gen_mnist --out FILE``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastsep import cli, entry
from fastsep.data.mnist.settings import DIGIT_SIDE, TEST_SEED, MovingMNIST
from fastsep.files import require_suffix
from fastsep.settings import NumPySeed, Range, Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Write Moving MNIST's test videos, with the digits and positions that they are made of, as HDF5."""

    out: Path
    """File to write; 2 GB for the published 5,000 videos of 100 frames."""
    data: Path | None = None
    """Directory of MNIST's four IDX files [data/mnist]; fetched into it if absent."""
    digits: Literal["mnist", "sklearn"] = "mnist"
    """Images of digits: MNIST, or the ones bundled with scikit-learn, enlarged."""
    n_digits: Annotated[int, Range(1, 3)] = 2
    """Digits of a video, 1 to 3."""
    grid: Annotated[int, Range(DIGIT_SIDE + 1, 4096)] = 64
    """Height and width of a frame in pixels."""
    speed: Annotated[int, Range(1, 4096)] = 4
    """Largest speed along an axis, in pixels a frame."""
    stochastic: bool = False
    """Draw a new speed at each bounce."""
    videos: Annotated[int, Range(1, 10_000_000)] = 5_000
    """Videos."""
    frames: Annotated[int, Range(1, 1_000_000)] = 100
    """Frames of a video."""
    seed: NumPySeed = TEST_SEED
    """Seed of the draws; 42 gives the authors' videos."""


def main() -> None:
    """Parse, draw, write."""
    arguments = cli.parse(
        Arguments, "gen_mnist", examples=["--out data/mnist_test.h5", "--digits sklearn --videos 100 --out digits.h5"]
    )
    if arguments.out.suffix:
        require_suffix(arguments.out, (".h5", ".hdf5"))
    config = MovingMNIST(
        data=arguments.data, digits=arguments.digits, n_digits=arguments.n_digits, grid=arguments.grid,
        speed=arguments.speed, stochastic=arguments.stochastic, test_videos=arguments.videos,
        test_frames=arguments.frames,
    )  # fmt: skip

    # Imported only now: --help should not wait for PyTorch.
    from fastsep.data.mnist.reader import draw_test_scene
    from fastsep.data.mnist.videos import write_videos
    from fastsep.progress import progress_bar

    scene, out = draw_test_scene(config, arguments.seed), arguments.out
    write_videos(scene, out, lambda chunks, total: progress_bar(chunks, total=total, unit="chunk", desc="rendering"))
    print(f"{out}: {arguments.videos} videos of {arguments.frames} frames, {scene.source}")


if __name__ == "__main__":
    entry.run(main)
