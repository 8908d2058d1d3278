from __future__ import annotations

import os
import warnings
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.animation import PillowWriter
from PIL import Image

from fastsep.data.appearance import Appearance
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate
from fastsep.data.wave.settings import Wave
from fastsep.drawing import animation
from fastsep.drawing.animation import _saved, animate_images, animate_points
from fastsep.drawing.curves import error_figure, latent_figure, training_figure
from fastsep.drawing.frames import forecast_figure, strips_figure, swap_figure
from fastsep.drawing.gallery import _appearance
from fastsep.drawing.mosaic import Mosaic
from fastsep.drawing.points import heatmap_figure, series_figure
from fastsep.drawing.strip import forecast_strip
from fastsep.drawing.style import chosen_horizons, new_figure, save, styled
from fastsep.errors import UserError

LOOK = Appearance("Made data", "value [unit]")


@pytest.mark.parametrize("horizon", [1, 2, 4, 6, 7, 10, 40, 95, 500])
def test_horizons_shown_are_few_and_end_with_the_last(horizon):
    shown = chosen_horizons(horizon)
    assert shown[0] == 1 and shown[-1] == horizon and len(shown) <= 7
    assert shown == sorted(set(shown))


def drawn(figure, path):
    with styled():
        save(figure, path)
    image = Image.open(path)
    assert min(image.size) > 300
    return image


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_figures_of_images(tmp_path, channels):
    cond, truth = torch.rand(2, 3, channels, 16, 16), torch.rand(2, 7, channels, 16, 16)
    with styled():
        drawn(forecast_figure(truth[0], truth[0] + 0.1, LOOK), tmp_path / "forecast.png")
        drawn(strips_figure(cond, truth, truth, LOOK), tmp_path / "strips.png")
        drawn(swap_figure(cond[:, -1], truth[:, :2], truth[:, None, :2].expand(-1, 2, -1, -1, -1, -1), [1, 2], LOOK),
              tmp_path / "swap.png")  # fmt: skip
        path = animate_images(cond[0], truth[0], truth[0], LOOK, tmp_path / "forecast.gif")
    assert Image.open(path).n_frames == 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["forecast.gif", "forecast.png", "strips.png", "swap.png"]


def test_figures_of_points(tmp_path):
    cond, truth = torch.rand(5, 1, 20), torch.rand(12, 1, 20)
    with styled():
        drawn(heatmap_figure(cond, truth, truth, LOOK), tmp_path / "forecast.png")
        drawn(series_figure(cond, truth, truth + 0.1, LOOK), tmp_path / "series.png")
        path = animate_points(cond, truth, truth, LOOK, tmp_path / "forecast.gif")
    assert Image.open(path).n_frames == 17


def test_points_have_the_numbers_of_the_file_and_one_frame_is_enough():
    cond, truth = torch.rand(5, 1, 20), torch.rand(1, 1, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = series_figure(cond, truth, truth, LOOK, range(100, 140, 2))
    titles = [axis.get_title() for axis in figure.axes]
    assert len(set(titles)) == 6 and {*titles} <= {f"point {number}" for number in range(100, 140, 2)}


@pytest.mark.parametrize(("format", "step"), [("hdf5", "frames of 1 ms"), ("pt", "frames"), (None, "frames of 2 ms")])
def test_waves_are_shown_with_the_time_step_that_they_were_made_with(format, step, tmp_path):
    if format:
        generate(tmp_path, WaveSettings(2, 4, dt=5e-4), torch.device("cpu"), format)
    settings = Wave(data=tmp_path if format else None, size=2, frames=4)
    assert _appearance(settings, settings.open("test", 1, 1, torch.device("cpu"))).step == step


def test_errors_name_scores_with_units_and_every_predictor():
    curves = {"model": {"mse": [0.1, 0.2], "psnr": [20.0, 18.0]}, "persistence": {"mse": [0.2, 0.4]}}
    figure = error_figure(curves, {"mse": "MSE", "psnr": "PSNR [dB]"}, 1234, LOOK)
    mse, psnr = figure.axes
    assert mse.get_ylabel() == "MSE" and mse.get_yscale() == "log" and len(mse.lines) == 2
    assert psnr.get_ylabel() == "PSNR [dB]" and len(psnr.lines) == 1
    assert "1,234" in figure.get_suptitle()


@pytest.mark.parametrize("shape", [(20,), (3, 4, 4), (1,)])
def test_trajectories_of_vectors_and_maps(tmp_path, shape):
    drawn(latent_figure(torch.rand(9, 2, *shape), 4, LOOK), tmp_path / "latent.png")


def test_training_shows_the_terms_of_the_log(tmp_path):
    names = ("total", "prediction", "ae", "s_invariance", "t_regularisation")
    rows = [{"step": k, "lr": 1e-3, **dict.fromkeys(names, 1.0 / k), "test_mse": ""} for k in (50, 100)]
    rows[-1]["test_mse"] = 0.02
    figure = training_figure(rows, "training")
    drawn(figure, tmp_path / "training.png")
    assert len(figure.axes[0].lines) == 6 and len(figure.axes[1].lines) == 1


def test_a_figure_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        save(latent_figure(torch.rand(3, 1, 2), 1, LOOK), tmp_path / "figures" / "x.png")


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 16, 16), (3, 16, 16), (1, 30)])
def test_strip_for_the_log(shape):
    truth = torch.rand(12, *shape) * 5 - 2
    strip = forecast_strip(truth, truth.bfloat16())
    assert strip.shape[0] == 3 and strip.dtype == torch.float32
    assert strip.min() >= 0 and strip.max() <= 1
    third = (strip.shape[1] - 4) // 3
    assert strip[:, -third:, :10].max() < 0.02  # the error's row is dark where the forecast is right


@pytest.mark.parametrize("shape", [(1, 12, 20), (1, 30)])
def test_strip_shows_cells_that_do_not_count_grey(shape):
    mask = (torch.arange(shape[-1]) > 4).expand(shape[1:])
    truth = torch.where(mask, torch.rand(5, *shape) + 3, 0)
    strip = forecast_strip(truth, truth, mask)
    of_truth = strip[:, :12, :5] if len(shape) == 3 else strip[:, : 5 * (100 // 30)]
    assert (of_truth == 0.5).all()
    assert strip[:, 15:100].max() == 1  # the range is that of the cells that count


@pytest.mark.parametrize(("height", "width"), [(4, 5), (25, 25), (25, 75), (125, 175)])
def test_frames_of_any_size_find_their_place(height, width):
    truth = torch.rand(3, 95, 1, height, width)
    with styled():
        strips_figure(truth[:, :3], truth, truth, LOOK)
        forecast_figure(truth[0], truth[0], LOOK)
        swap_figure(truth[:, 0], truth[:, :2], truth[:, None, :2].expand(-1, 3, -1, -1, -1, -1), [1, 2], LOOK)


def test_frames_of_an_animation_have_the_same_colours(tmp_path):
    """Colour bars would flicker, and lose those of which a frame has few."""
    torch.manual_seed(0)
    frames = torch.rand(6, 1, 12, 12) ** 3
    frames[5] *= 0.1
    animate_images(frames[:2], frames[2:], frames[2:].flip(0), LOOK, tmp_path / "a.gif")
    bars = []
    with Image.open(tmp_path / "a.gif") as drawn:
        for k in range(drawn.n_frames):
            drawn.seek(k)
            pixels = np.array(drawn.convert("RGB"))
            bars.append(pixels[50:210, 558:564].reshape(-1, 3))  # of the errors
    assert all((bar == bars[0]).all() for bar in bars)
    assert len(np.unique(bars[0], axis=0)) > 40


def test_titles_may_hold_any_sign(tmp_path):
    priced = replace(replace(LOOK, title="cost_$1_to_$2", quantity="$ a $ ^{"), step="days")
    assert priced.title == r"cost_\$1_to_\$2"
    assert replace(LOOK, title=os.fsdecode(b"caf\xe9")).title == "caf?"
    frames = torch.rand(4, 1, 8, 8)
    with styled():
        drawn(forecast_figure(frames, frames, priced), tmp_path / "forecast.png")
        animate_images(frames, frames, frames, priced, tmp_path / "forecast.gif")
    with Image.open(tmp_path / "forecast.gif") as gif:
        assert gif.n_frames == 8 and gif.convert("RGB").getpixel((1, 1)) == (255, 255, 255)


def test_powers_of_ten_are_written_as_such(tmp_path):
    curves = {"model": {"u": [1e-5, 1e-3, 1.0]}}
    with styled():
        figure = error_figure(curves, {"u": "MSE of $u_1 and $v"}, 3, LOOK)
        figure.draw_without_rendering()
    labels = [label for label in figure.axes[0].get_yticklabels() if label.get_text()]
    assert labels and all(label.get_parse_math() for label in labels)
    assert figure.axes[0].get_ylabel() == r"MSE of \$u_1 and \$v"


def test_a_frame_that_cannot_be_drawn_is_the_error_that_is_told(tmp_path):
    class Broken:
        def __len__(self):
            raise KeyError("frame")

    with (
        styled(),
        pytest.raises(KeyError, match="frame"),
        _saved(PillowWriter(), new_figure(2, 2), tmp_path / "a.gif"),
    ):
        len(Broken())


def test_long_forecasts_are_shown_with_frames_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(animation, "_MOST", 5)
    frames = torch.rand(13, 1, 8, 8)
    with styled():
        path = animation.animate_future(frames[:1], frames[1:], LOOK, tmp_path / "long.gif")
    assert Image.open(path).n_frames == 5


@pytest.mark.parametrize("channels", [1, 3])
def test_missing_cells_are_grey_and_frames_keep_their_proportions(tmp_path, channels):
    truth = torch.rand(3, channels, 8, 24)
    truth[..., 2:6, 3:9] = torch.nan
    wide = drawn(forecast_figure(truth, truth + 0.1, LOOK), tmp_path / "wide.png")
    square = drawn(forecast_figure(truth[..., 12:20], truth[..., 12:20], LOOK), tmp_path / "square.png")
    assert wide.size[1] < 0.7 * square.size[1]
    of_wide, of_square = ((np.asarray(image.convert("RGB")) == 0xB4).all(-1).mean() for image in (wide, square))
    assert 0.03 < of_wide < 0.2 and of_square < 0.01


def test_large_frames_are_drawn_from_every_kth_pixel():
    mosaic = Mosaic(2, 3, shape=(1, 901, 1300))
    frame = np.zeros((901, 1300), np.float32)
    frame[:, 650:] = 1.0
    frame[:300] = np.nan
    mosaic.put(1, 2, frame)
    figure = new_figure(4, 3)
    image = mosaic.draw(figure.subplots(), "viridis", 0.0, 1.0)
    shown, overlay = image.get_array(), figure.axes[0].images[1].get_array()
    assert max(shown.shape) < 3 * 400 + 100 and overlay.dtype == np.uint8
    corner = shown[-901 // 4 :, -1300 // 4 :]
    assert abs((corner == 1.0).filled(False).mean() - 1 / 3) < 0.02 and abs(corner.mask.mean() - 1 / 3) < 0.02
    assert abs((overlay[..., 3] == 255).mean() * overlay[..., 3].size / corner.size - 1 / 3) < 0.02


def test_strip_survives_constant_and_broken_frames():
    strip = forecast_strip(torch.zeros(3, 1, 8, 8), torch.full((3, 1, 8, 8), float("nan")))
    assert strip.isfinite().all()


def test_a_strip_shows_the_last_row_above_where_rows_rise():
    frames = torch.rand(3, 1, 8, 6)
    mask = torch.rand(8, 6) < 0.7
    risen = forecast_strip(frames, frames.sqrt(), mask, rises=True)
    assert torch.equal(risen, forecast_strip(frames.flip(-2), frames.sqrt().flip(-2), mask.flip(-2)))
    assert not torch.equal(risen, forecast_strip(frames, frames.sqrt(), mask))


def test_units_of_time_are_text_not_mathematics(tmp_path):
    look = Appearance("Made data", "value", step="frames of 1 $^$")
    frames = torch.rand(3, 1, 8, 8)
    drawn(forecast_figure(frames, frames + 0.1, look), tmp_path / "forecast.png")


def test_the_users_own_style_changes_nothing(tmp_path):
    frames = torch.rand(3, 1, 8, 8)
    dark = {"savefig.bbox": "tight", "axes.facecolor": "black", "text.color": "white", "figure.facecolor": "black"}
    for name, own in (("plain", {}), ("dark", dark)):
        with matplotlib.rc_context(own), styled():
            save(forecast_figure(frames, frames + 0.1, LOOK), tmp_path / f"{name}.png")
            assert matplotlib.rcParams["text.color"] == "black"
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "dark.png").read_bytes()
