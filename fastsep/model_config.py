"""Settings of the model, and which of them can wait for the data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from fastsep.errors import UserError
from fastsep.network_kinds import Decoder, Encoder, kind_of
from fastsep.settings import LARGEST_FLOAT, Range, Settings

Width = Annotated[int, Range(1, 65_536)]
Depth = Annotated[int, Range(1, 100)]
FrameCount = Annotated[int, Range(1, 10_000)]
Positive = Annotated[float, Range(0, LARGEST_FLOAT, above=True)]


@dataclass(frozen=True)
class ModelConfig(Settings):
    """The four networks (encoders E_S and E_T, integrator R, decoder D) and how the codes meet.

    What is auto or none is settled by the data's frames and as in the published preset of the network they get;
    convolutional networks that auto picks on a CPU are narrower.
    """

    shape: Annotated[tuple[int, ...], Range(1, 1_000_000)] = (1, 64, 64)
    """Frame: channels and size, (C, H, W) for images or (C, points) for lists of pixels; () is that of the data."""
    encoder: Literal["auto", Encoder] = "dcgan"
    """Network of both encoders; auto picks it, and the decoder, by the data's frames, and says which and why. Sizes
    that are as in the preset then become those that suit the network."""
    decoder: Literal["auto", Decoder] = "dcgan"
    """Network of the decoder; auto is the one that goes with the encoder."""
    skip: bool = False
    """Hand the static encoder's features to the decoder. Networks that auto picks do so where they can; name one with
    --encoder to do without."""
    mixing: Literal["auto", "concat", "mul"] = "concat"
    """How S and T meet in the decoder: side by side, or multiplied."""
    no_s: bool = False
    """Ablation: replace S by the constant 1 (needs mixing mul and equal code sizes; lamb_t is then 0)."""
    nt_cond: FrameCount = 5
    """Conditioning frames n."""
    offset: Annotated[int, Range(0, 10_000)] | None = 5
    """n: the first decoded frame is the first conditioning frame. 0: it is the first future frame."""
    code_size_s: Width | None = 128
    """Size of the static code S."""
    code_size_t: Width | None = 20
    """Size of the dynamic code T."""
    enc_hidden_size: Width | None = 64
    """Width of the encoders: hidden units of an MLP, filters of the first stage of dcgan and vgg."""
    enc_n_layers: Depth | None = 3
    """Linear layers of an MLP encoder."""
    dec_hidden_size: Width | None = 64
    """Width of the decoder."""
    dec_n_layers: Depth | None = 3
    """Linear layers of an MLP decoder."""
    sst_filters: Width | None = 64
    """Filters of the first stage of the sst networks; resnet has its own."""
    n_blocks: Depth | None = 1
    """Residual blocks of the integrator."""
    res_hidden_size: Width | None = 512
    """Hidden units of a residual block."""
    init: Literal["published", "kaiming"] = "published"
    """How the weights of encoders and decoder start: N(0, 0.02), or Kaiming's uniform distribution."""
    gain_resnet: Positive | None = 1.41
    """Gain of the integrator's orthogonal initialisation."""
    last_activation: Literal["auto", "sigmoid", "none"] = "sigmoid"
    """Activation of the decoder's output; auto is none, which bounds no forecast."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.shape) not in (0, 2, 3):
            raise UserError(f"shape is {self.shape}: set --shape to channels, height and width, or channels and points")
        sizes_differ = None not in (self.code_size_s, self.code_size_t) and self.code_size_s != self.code_size_t
        named = [name for name in (self.encoder, self.decoder) if name != "auto"]
        spatial = [name for name in named if kind_of(name).spatial]
        if spatial and (self.no_s or self.mixing == "mul"):
            raise UserError(
                f"{spatial[0]} networks, given or picked for the frames, put S and T side by side: set --mixing concat "
                "and do without --no-s, or choose another --encoder and --decoder, such as mlp"
            )
        if self.no_s and self.skip:
            raise UserError("skip connections hand on what the encoder of S saw: do without --skip or --no-s")
        if self.no_s and (self.mixing == "concat" or sizes_differ):
            raise UserError("no_s needs --mixing mul and equal --code-size-s and --code-size-t")
        if self.mixing == "mul" and sizes_differ:
            raise UserError("mixing mul needs equal code sizes: set --code-size-s and --code-size-t to the same number")
        if self.offset not in (0, self.nt_cond, None):
            raise UserError(
                f"offset is {self.offset}: set --offset to 0 or to the number of conditioning frames ({self.nt_cond})"
            )
        if self.skip and "mlp" in (self.encoder, self.decoder):
            raise UserError("an MLP has no feature maps to skip with: drop --skip or choose convolutional networks")

    @property
    def can_skip(self) -> bool:
        """Whether the decoder takes the feature maps of the encoder: settled, they are of one kind, and as wide."""
        alike = self.encoder == self.decoder and kind_of(self.encoder).skips
        # One setting, sst_filters, is the width of both sst networks.
        return alike and (self.encoder == "sst" or self.enc_hidden_size == self.dec_hidden_size)

    @property
    def idle(self) -> tuple[str, ...]:
        """Names of widths and depths that are other than published, though no network here has such a size."""
        ours, theirs = kind_of(self.encoder), kind_of(self.decoder)
        usual = {
            "enc_hidden_size": ours.hidden_size, "enc_n_layers": ours.enc_n_layers,
            "dec_hidden_size": theirs.hidden_size, "dec_n_layers": theirs.dec_n_layers, "sst_filters": 64,
        }  # fmt: skip
        used = {*(f"enc_{name}" for name in ours.sized_by), *(f"dec_{name}" for name in theirs.sized_by)}
        used |= {*ours.sized_by, *theirs.sized_by}
        return tuple(name for name, value in usual.items() if name not in used and getattr(self, name) != value)

    @property
    def left_open(self) -> tuple[str, ...]:
        """Names of the settings that wait for the data; there are none in a run's ``config.json``."""
        return tuple(name for name, value in LEFT_OPEN.items() if getattr(self, name) == value)

    def reopened(self, given: Collection[str]) -> ModelConfig:
        """The same with all that a network brings along left open but for what was ``given``, by name."""
        kept = {"last_activation", *given}  # which belongs to the data
        return replace(self, **{name: value for name, value in LEFT_OPEN.items() if name not in kept})


LEFT_OPEN: dict[str, Any] = {
    "shape": (), "encoder": "auto", "decoder": "auto", "mixing": "auto", "offset": None, "code_size_s": None,
    "code_size_t": None, "enc_hidden_size": None, "enc_n_layers": None, "dec_hidden_size": None, "dec_n_layers": None,
    "sst_filters": None, "n_blocks": None, "res_hidden_size": None, "gain_resnet": None, "last_activation": "auto",
}  # fmt: skip
"""Settings of ``ModelConfig`` that can wait for the data, and the values that say so. ``ModelConfig(**LEFT_OPEN)`` is
whichever network suits the frames (see ``fastsep.model_auto``)."""
