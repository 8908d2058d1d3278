"""Import a run of the authors' code: its settings and its four pickled networks become a run directory of ours.

Files of such a run: ``params.json`` (the command line's settings), ``ov_Es.pt``, ``ov_Et.pt``, ``decoder.pt`` and
``t_resnet.pt``, or the same with ``_EPOCH`` before ``.pt`` for checkpoints along the way.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastsep.config import Config, RunConfig
from fastsep.data.formats.reading import reading
from fastsep.errors import UserError
from fastsep.model import SeparableModel
from fastsep.presets import PRESETS
from fastsep.room import require_room
from fastsep.runs.checkpoint import save_checkpoint
from fastsep.runs.directory import create_run, training_lock
from fastsep.runs.official_pickle import read_module

FILES = {"encoder_s": "ov_Es", "encoder_t": "ov_Et", "decoder": "decoder", "integrator": "t_resnet"}
_PRESET_OF_DATA = {
    "wave": "wave", "wave_partial": "wave100", "mnist": "mnist", "chairs": "chairs", "taxibj": "taxibj", "sst": "sst",
}  # fmt: skip
_NETWORKS = {"encoderSST": "sst", "decoderSST": "sst", "large_mlp": "mlp"}
_ENCODERS = ("mlp", "dcgan", "vgg", "resnet", "sst")
_DECODERS = ("mlp", "dcgan", "vgg", "sst")
"""Those that the authors' code has, which may be fewer than ours."""
_MODEL = {"skipco": "skip"} | {
    name: name
    for name in (
        "nt_cond", "offset", "code_size_s", "code_size_t", "mixing", "no_s", "enc_hidden_size", "enc_n_layers",
        "dec_hidden_size", "dec_n_layers", "n_blocks", "res_hidden_size", "gain_resnet",
    )
}  # fmt: skip
_OBJECTIVE = {name: name for name in ("nt_pred", "lamb_ae", "lamb_s", "lamb_t", "lamb_pred")}
_DATA = {"mnist": {"n_object": "n_digits"}, "sst": {"zones": "zones"}}
"""By data set; the options are all there whichever it is."""
_OPTIM = {"scheduler_decay": "gamma"} | {name: name for name in ("lr", "beta1", "beta2", "batch_size", "epochs")}


def import_run(directory: Path, run: Path, preset: str | None = None, epoch: int | None = None) -> Config:
    """Write the run directory ``run`` from the authors' run in ``directory``.

    Args:
        preset: the settings to start from; needed where the run has no ``params.json``.
        epoch: import the checkpoint of this epoch instead of the final networks.

    Raises:
        UserError: a file is missing or damaged, asks for more than a network needs, or does not fit the settings.
    """
    config = dataclasses.replace(read_settings(directory, preset), run=RunConfig(out=run))
    require_room(config.model, torch.device("cpu"))
    model = SeparableModel(config.model)
    for name, file in FILES.items():
        network = getattr(model, name)
        suffix = "" if epoch is None else f"_{epoch}"
        path = directory / f"{file}{suffix}.pt"
        if network is not None:
            _fill(network, path)
    with training_lock(run, make=True):
        create_run(run, config)
        save_checkpoint(run, 0, model)
    return config


def read_settings(directory: Path, preset: str | None = None) -> Config:
    """The authors' ``params.json`` over the settings of ``preset``, by default the preset of its data set.

    Raises:
        UserError: no such file and no preset, or settings that are not known.
    """
    path = directory / "params.json"
    known = ", ".join(PRESETS)
    if preset is not None and preset not in PRESETS:
        raise UserError(f"there is no preset {preset}: choose one of {known}")
    if not os.path.exists(path):
        if preset is None:
            raise UserError(f"{path} does not exist: add --preset with one of {known}")
        return PRESETS[preset]()
    with reading(path, "JSON file of settings", "mend it, or move it away and add --preset"):
        params = json.loads(path.read_text())
        if not isinstance(params, dict):
            raise ValueError("it holds no settings")
    preset = preset or _PRESET_OF_DATA.get(str(params.get("data")))
    if preset is None:
        raise UserError(f"{path} names the unknown data set {params.get('data')}: add --preset with one of {known}")
    try:
        return _translate(PRESETS[preset](), params)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} holds a setting that makes no sense ({error}): mend it") from None


def _translate(base: Config, params: dict[str, Any]) -> Config:
    """``base`` with what ``params`` says."""
    model = _pick(params, _MODEL)
    architecture = params.get("architecture")
    if architecture is not None:
        decoder = params.get("decoder_architecture") or architecture
        model |= {"encoder": _network(architecture, _ENCODERS), "decoder": _network(decoder, _DECODERS)}
    if model.get("no_s"):
        model |= {"mixing": "mul", "code_size_s": params.get("code_size_t", base.model.code_size_t)}
    if params.get("data") == "wave_partial" and "n_wave_points" in params:
        model["shape"] = (1, int(params["n_wave_points"]))
    optim = _pick(params, _OPTIM)
    if "scheduler" in params:
        optim["schedule"] = "milestones" if params["scheduler"] else "constant"
    if "scheduler_milestones" in params:
        optim["milestones"] = tuple(int(epoch) for epoch in params["scheduler_milestones"])
    if params.get("downsample", 2) != 2 and base.data.name in ("wave", "wave100"):
        raise ValueError("downsample is not 2: here every second frame of a wave is kept")
    data = _pick(params, _DATA.get(base.data.name, {}))
    if "zones" in data:
        data["zones"] = tuple(int(zone) for zone in data["zones"])
    return dataclasses.replace(
        base,
        data=_replace(base.data, data),
        model=_replace(base.model, model),
        objective=_replace(base.objective, _pick(params, _OBJECTIVE)),
        optim=_replace(base.optim, optim),
    )


def _pick(params: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The settings of ``params`` that ``names`` lists, under our names."""
    return {ours: params[theirs] for theirs, ours in names.items() if theirs in params}


def _network(name: Any, known: tuple[str, ...]) -> str:
    kind = _NETWORKS.get(str(name), str(name))
    if kind not in known:
        raise ValueError(f"network {name}")
    return kind


def _replace(settings: Any, values: dict[str, Any]) -> Any:
    """A copy of a settings dataclass with ``values``, each of the kind that it replaces."""
    for name, value in values.items():
        present = getattr(settings, name)
        kinds = (int, float) if isinstance(present, float) else type(present)
        if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(present, bool)):
            raise TypeError(f"{name} = {value!r}")
    return dataclasses.replace(settings, **values)


@torch.no_grad()
def _fill(network: nn.Module, path: Path) -> None:
    """Copy the module stored at ``path`` into ``network``: tensor k to tensor k."""
    stored = read_module(path)
    pairs = (
        ("parameter", list(network.parameters()), stored.parameters),
        ("buffer", list(network.buffers()), stored.buffers),
    )
    for kind, ours, theirs in pairs:
        if len(ours) != len(theirs):
            raise UserError(
                f"{path} has {len(theirs)} {kind}s where the settings make {len(ours)}: "
                "give the --preset that the run was trained with"
            )
        for tensor, (name, value) in zip(ours, theirs, strict=True):
            _copy(tensor, value, name, path)


def _copy(tensor: Tensor, value: Tensor, name: str, path: Path) -> None:
    if tensor.shape != value.shape:
        made, found = ("x".join(map(str, t.shape)) for t in (tensor, value))
        raise UserError(
            f"{name} in {path} is {found} where the settings make {made}: "
            "give the --preset that the run was trained with"
        )
    tensor.copy_(value)
