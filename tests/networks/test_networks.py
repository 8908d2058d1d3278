"""Stacked calls equal calls one after another, static work is done once, and wrong settings are refused."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from network_cases import CONFIGS, OTHER_SIZES
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from fastsep.config import ModelConfig
from fastsep.errors import UserError
from fastsep.model import SeparableModel
from fastsep.network_kinds import DECODERS, KINDS
from fastsep.networks import build_decoder, build_encoder, build_integrator, init_weights
from fastsep.networks.convolutions import CodeConvTranspose2d, Conv2d, ConvTranspose2d, ExitConvTranspose2d
from fastsep.networks.layers import CallBatchNorm2d
from fastsep.networks.sizes import fits, single_valued
from fastsep.networks.sst import SSTIntegrator
from fastsep.presets import sst

CALLS, BATCH = 3, 2
SMALLEST = {"mlp": (1, 3, 3), "dcgan": (1, 16, 16), "vgg": (1, 16, 16), "resnet": (1, 32, 32), "sst": (1, 4, 4)}


def slow(*value: int):
    return pytest.param(value, marks=pytest.mark.slow)


def networks(name: str) -> tuple[nn.Module, nn.Module, tuple[int, ...], int]:
    """Encoder, decoder, shape of a frame, size of S."""
    torch.manual_seed(0)
    config = (CONFIGS | OTHER_SIZES)[name]
    encoder = build_encoder(config, config.code_size_s, skips=config.skip).double()
    return encoder, build_decoder(config).double(), config.shape, config.code_size_s


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def assert_same_training(one: nn.Module, other: nn.Module) -> None:
    """Equal gradients and running statistics."""
    torch.testing.assert_close(dict(one.named_buffers()), dict(other.named_buffers()), rtol=1e-10, atol=1e-12)
    for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-8, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", [*CONFIGS, "dcgan16_skip", "vgg16_skip", "vgg128_skip", "sst_wide"])
def test_encoder_stacks_calls(name: str) -> None:
    stacked, _, shape, code_size = networks(name)
    single = copy.deepcopy(stacked)
    frames = random(CALLS, BATCH, 2, *shape)
    code, skips = stacked(frames)
    parts = [single(frames[k : k + 1]) for k in range(CALLS)]
    assert code.shape[:3] == (CALLS, BATCH, code_size)
    torch.testing.assert_close(code, torch.cat([part[0] for part in parts]))
    torch.testing.assert_close(list(skips), [torch.cat(s) for s in zip(*(part[1] for part in parts), strict=True)])
    weights = [torch.randn_like(x) for x in (code, *skips)]
    sum((x * w).sum() for x, w in zip((code, *skips), weights, strict=True)).backward()
    for k, part in enumerate(parts):
        sum((x[0] * w[k]).sum() for x, w in zip((part[0], *part[1]), weights, strict=True)).backward()
    assert_same_training(stacked, single)


@pytest.mark.parametrize("name", [*CONFIGS, "dcgan16_skip", "vgg16_skip", "vgg128_skip", "sst_wide"])
def test_decoder_stacks_calls(name: str) -> None:
    encoder, stacked, shape, _ = networks(name)
    single = copy.deepcopy(stacked)
    with torch.no_grad():
        code, skips = encoder(random(1, BATCH, 2, *shape))
    static, skips = code[0].requires_grad_(), tuple(skip[0].requires_grad_() for skip in skips)
    dynamic = random(CALLS, BATCH, 20, *static.shape[2:])
    frames = stacked(static, dynamic, skips)
    expected = torch.cat([single(static, dynamic[k : k + 1], skips) for k in range(CALLS)])
    assert frames.shape == (CALLS, BATCH, *shape)
    torch.testing.assert_close(frames, expected)
    weights = torch.randn_like(frames)
    (frames * weights).sum().backward()
    of_static = [x.grad for x in (static, *skips)]
    for x in (static, *skips):
        x.grad = None
    (expected * weights).sum().backward()
    assert_same_training(stacked, single)
    torch.testing.assert_close(of_static, [x.grad for x in (static, *skips)], rtol=1e-8, atol=1e-9)


def test_spatial_integrator_rolls_out() -> None:
    integrator = SSTIntegrator(3, 8, 2).double()
    t0 = random(BATCH, 3, 4, 4)
    trajectory = integrator(t0, 4)
    assert trajectory.shape == (4, BATCH, 3, 4, 4)
    torch.testing.assert_close(trajectory[0], t0)
    assert integrator.blocks[0][0].norm.num_batches_tracked.item() == 3
    integrator.eval()
    torch.testing.assert_close(integrator(integrator(t0, 3)[-1], 2)[-1], integrator(t0, 4)[-1])


def test_static_work_of_the_sst_decoder_is_done_once() -> None:
    config, calls = sst().model, 10
    with torch.device("meta"):
        decoder = build_decoder(config)
        dynamic = torch.empty(calls, 1, config.code_size_t, 16, 16)
        static = torch.empty(1, config.code_size_s, 16, 16)
        skips = tuple(torch.empty(1, c, s, s) for c, s in ((256, 16), (128, 32), (64, 64)))

    def operations(frames: int) -> int:
        with FlopCounterMode(display=False) as counter:
            decoder(static, dynamic[:frames], skips)
        return counter.get_total_flops()

    # One frame alone costs what every frame costs a decoder that repeats the static work.
    assert operations(calls) <= 0.75 * calls * operations(1)
    assert operations(calls) - operations(calls - 1) <= 0.64 * operations(1)


def test_initialisation_follows_the_paper() -> None:
    torch.manual_seed(0)
    config = ModelConfig(encoder="vgg", decoder="vgg", n_blocks=2)
    encoder, decoder, integrator = build_encoder(config, 128), build_decoder(config), build_integrator(config)
    spatial = SSTIntegrator(64, 512, 1)
    init_weights([encoder, decoder], integrator, gain=0.71)
    init_weights([], spatial, gain=0.71)
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        if name.endswith("bias"):
            assert not parameter.any()
        elif parameter.numel() >= 512:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1)
            assert parameter.mean().item() == pytest.approx(float(parameter.dim() == 1), abs=0.003)
    for weight in [p for net in (integrator, spatial) for p in net.parameters() if p.dim() > 1]:
        matrix = weight.detach().flatten(1)
        gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        torch.testing.assert_close(gram, 0.71**2 * torch.eye(len(gram)), rtol=0, atol=1e-4)


def test_kaiming_initialisation_keeps_the_signal_of_a_narrow_decoder() -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        shape=(1, 100), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=32, code_size_t=32, dec_hidden_size=150
    )
    spread = {}
    for kind in ("published", "kaiming"):
        decoder = build_decoder(config)
        init_weights([decoder], build_integrator(config), gain=0.71, kind=kind)
        spread[kind] = decoder(torch.ones(64, 32), torch.randn(1, 64, 32)).std().item()
    assert spread["published"] < 0.05
    assert 0.5 < spread["kaiming"] < 2.5


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(96, 64), (64, 96)),
        (Conv2d(24, 9, 3, padding=1), (16, 24, 12, 12)),
        (ConvTranspose2d(24, 9, 4, stride=2, padding=1), (16, 24, 12, 12)),
        (ExitConvTranspose2d(64, 1, stride=2), (64, 64, 12, 12)),
        (ExitConvTranspose2d(64, 2), (64, 64, 12, 12)),
        (CodeConvTranspose2d(0, 96, 32), (64, 96, 1, 1)),
    ],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else type(value).__name__,
)
def test_kaiming_initialisation_keeps_the_variance_of_every_layer(layer: nn.Module, shape: tuple[int, ...]) -> None:
    init_weights([layer], nn.Identity(), gain=1.0, kind="kaiming")
    x = torch.randn(shape).relu()
    plain = nn.ConvTranspose2d if isinstance(layer, nn.ConvTranspose2d) else type(layer)
    y = plain.forward(layer, x) if plain is nn.ConvTranspose2d else layer(x)
    inner = y[..., 3:-3, 3:-3] if y.dim() > 2 and y.shape[-1] > 4 else y
    assert inner.square().mean().item() == pytest.approx(1, rel=0.25)


@pytest.mark.parametrize(("encoder", "shape"), [*SMALLEST.items(), ("vgg", (1, 64, 64)), ("sst", (1, 4, 8))])
def test_one_sequence_trains_wherever_maps_have_pixels(encoder: str, shape: tuple[int, ...]) -> None:
    decoder = "vgg" if encoder == "resnet" else encoder
    config = ModelConfig(
        shape=shape, encoder=encoder, decoder=decoder, enc_hidden_size=2, dec_hidden_size=2, sst_filters=2,
        code_size_s=3, code_size_t=3, res_hidden_size=4,
    )  # fmt: skip
    model = SeparableModel(config).train()
    frames = torch.rand(1, config.nt_cond, *shape)
    if single_valued(encoder, shape[1:]):
        with pytest.raises(ValueError, match="more than one value a channel"):
            model.forecast(frames, 2)
    else:
        assert model.forecast(frames, 2).isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (1, 64, 32)}, r"dcgan encoder .* not 64x32 \(the nearest are 32x32 and 64x64\)"),
        ({"encoder": "vgg", "shape": (1, 48, 48)}, "vgg encoder .* are 32x32 and 64x64.*another --encoder"),
        ({"encoder": "mlp", "shape": (1, 512, 300)}, r"dcgan decoder .* \(the nearest is 256x256\).*another --decoder"),
        ({"encoder": "mlp", "decoder": "vgg", "shape": (1, 100)}, "vgg decoder .* not 100 points: give"),
        ({"encoder": "resnet", "decoder": "mlp", "shape": (1, 31, 64)}, r"at least 32x32 .* \(the nearest is 32x64\)"),
        ({"encoder": "sst", "decoder": "sst", "shape": (1, 50, 64)}, "the nearest are 48x64 and 52x64"),
        ({"encoder": "mlp", "decoder": "sst"}, "both or neither"),
        ({"encoder": "vgg", "skip": True}, "one kind"),
        ({"dec_hidden_size": 32, "skip": True}, "64 and 32 filters"),
        ({"encoder": "sst"}, "both or neither"),
        ({"no_s": True, "mixing": "mul", "code_size_s": 20, "skip": True}, "do without --skip or --no-s"),
        (
            {"encoder": "sst", "decoder": "sst", "mixing": "mul", "code_size_s": 20},
            "set --mixing concat and do without",
        ),
        ({"encoder": "sst", "decoder": "sst", "no_s": True}, "set --mixing concat and do without --no-s"),
    ],
)
def test_networks_that_do_not_fit_are_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        config = dataclasses.replace(ModelConfig(), **change)
        build_encoder(config, config.code_size_s, config.skip)
        build_decoder(config)


@pytest.mark.parametrize("encoder", KINDS)
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("shape", [(5, 32, 32), (1, 96, 64), (2, 33, 50), (3, 7), slow(3, 256, 256), slow(1, 16, 16)])
def test_every_pair_of_networks_forecasts_all_frames_that_fit_both(encoder, decoder, shape):
    settings = {"shape": shape, "encoder": encoder, "decoder": decoder, "enc_hidden_size": 2, "dec_hidden_size": 2}
    config = ModelConfig(**settings, sst_filters=2)
    with FakeTensorMode():
        video = torch.empty(2, 5, *shape)
        if (encoder == "sst") != (decoder == "sst") or not (fits(encoder, shape[1:]) and fits(decoder, shape[1:])):
            with pytest.raises(UserError):
                SeparableModel(config)
            return
        skip = encoder == decoder and encoder != "mlp"
        assert SeparableModel(dataclasses.replace(config, skip=skip)).eval().forecast(video, 3).shape == (2, 3, *shape)


@pytest.mark.parametrize("in_the_table", [False, True])
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_network_that_there_is_not_is_never_built_as_another(role: str, in_the_table: bool, monkeypatch) -> None:
    config = ModelConfig()
    object.__setattr__(config, role, "fourier")  # which the settings themselves would refuse
    if in_the_table:  # and its line was forgotten
        monkeypatch.setattr("fastsep.network_kinds.KINDS", {**KINDS, "fourier": KINDS["dcgan"]})
    with pytest.raises(ValueError, match=f"there is no ({role}|network) fourier"):
        build_encoder(config, config.code_size_s)
        build_decoder(config)


def test_an_integrator_is_not_picked_by_an_unknown_encoder() -> None:
    config = ModelConfig()
    object.__setattr__(config, "encoder", "fourier")
    with pytest.raises(ValueError, match="there is no network fourier"):
        build_integrator(config)


def test_an_initialisation_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no initialisation orthogonal"):
        init_weights([], nn.Identity(), gain=1.0, kind="orthogonal")


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.BatchNorm1d, nn.SyncBatchNorm])
@pytest.mark.parametrize("part", ["encoder", "decoder", "integrator"])
def test_a_batch_norm_that_mixes_stacked_calls_is_refused(part: str, norm: type[nn.Module], monkeypatch) -> None:
    network = nn.Sequential(nn.Linear(3, 3), norm(3))
    monkeypatch.setattr(f"fastsep.model.build_{part}", lambda *args, **options: network)
    with pytest.raises(TypeError, match=rf"\.1 is a {norm.__name__}, .*: use .*\.CallBatchNorm2d$"):
        SeparableModel(CONFIGS["dcgan"])
    network[1] = CallBatchNorm2d(3)
    SeparableModel(CONFIGS["dcgan"])


def test_decoder_traces_as_one_graph_under_autocast() -> None:
    _, decoder, _, _ = networks("dcgan_skip")
    decoder.float()
    static, dynamic = torch.randn(BATCH, 128), torch.randn(CALLS, BATCH, 20)
    skips = tuple(torch.randn(BATCH, 3 * c, s, s) for c, s in ((8, 4), (4, 8), (2, 16), (1, 32)))
    results = []
    for function in (decoder, torch.compile(copy.deepcopy(decoder), backend="aot_eager", fullgraph=True)):
        with torch.autocast("cpu", torch.bfloat16):
            frames = function(static, dynamic, skips)
        frames.float().square().sum().backward()
        results.append(frames)
    torch.testing.assert_close(*results)
