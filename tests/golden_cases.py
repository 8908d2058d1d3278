"""The golden model cases: settings, weights and inputs made from the recipe in ``golden/model.json``."""

from __future__ import annotations

import functools
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastsep.config import ModelConfig, ObjectiveConfig
from fastsep.model import SeparableModel

GOLDEN = Path(__file__).parent / "golden" / "model.json"
NETWORKS = {"encoderSST": "sst", "decoderSST": "sst"}


@functools.cache
def golden() -> dict[str, Any]:
    """The whole file."""
    return json.loads(GOLDEN.read_text())


def case_names() -> list[str]:
    return list(golden()["cases"])


def load_case(name: str) -> dict[str, Any]:
    return golden()["cases"][name]


def model_config(case: dict[str, Any]) -> ModelConfig:
    c = case["config"]
    return ModelConfig(
        shape=tuple(c["shape"]), encoder=NETWORKS.get(c["enc"], c["enc"]), decoder=NETWORKS.get(c["dec"], c["dec"]),
        skip=c["skip"], mixing=c["mixing"], no_s=c["no_s"], nt_cond=c["nt_cond"], offset=c["offset"],
        code_size_s=c["cs"], code_size_t=c["ct"], enc_hidden_size=c["eh"], enc_n_layers=c["el"],
        dec_hidden_size=c["dh"], dec_n_layers=c["dl"], n_blocks=c["n_blocks"], res_hidden_size=c["res_hidden"],
        last_activation=c["act"] or "none",
    )  # fmt: skip


def objective_config(case: dict[str, Any]) -> ObjectiveConfig:
    c = case["config"]
    names = ("nt_pred", "lamb_ae", "lamb_s", "lamb_t", "lamb_pred")
    return ObjectiveConfig(**{name: c[name] for name in names})


def recipe_weight(k: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Parameter number ``k`` of the table; float64."""
    z = np.random.RandomState(100000 * (golden()["seed"] + 1) + k).standard_normal(shape)
    if len(shape) >= 2:
        z *= np.sqrt(2 / (z.size / shape[0]))
    else:
        z = 1 + 0.1 * z if name.endswith("weight") else 0.1 * z
    return torch.from_numpy(z)


def build_model(case: dict[str, Any]) -> SeparableModel:
    """The case's model in float64 with the recipe's weights; fails where the parameter tables differ in shape."""
    model = SeparableModel(model_config(case)).double()
    load_recipe(list(model.parameters()), case)
    return model


@torch.no_grad()
def load_recipe(parameters: list[nn.Parameter], case: dict[str, Any]) -> None:
    """Fill parameters, given in the table's order, from the recipe."""
    table = case["parameters"]
    assert [list(p.shape) for p in parameters] == [row["shape"] for row in table]
    for parameter, row in zip(parameters, table, strict=True):
        parameter.copy_(recipe_weight(row["k"], row["name"], tuple(row["shape"])))


def video(case: dict[str, Any]) -> Tensor:
    """The input batch (B, n + m, *shape), float64."""
    c = case["config"]
    shape = (golden()["batch"], c["nt_cond"] + c["nt_pred"], *c["shape"])
    return torch.from_numpy(np.random.RandomState(777 + golden()["seed"]).uniform(size=shape))


def zero_gradients(model: nn.Module) -> set[int]:
    """Ids of the biases whose gradient is zero in exact arithmetic: those of a convolution in front of a batch norm."""
    leaves = [m for m in model.modules() if next(m.children(), None) is None]
    return {
        id(conv.bias)
        for conv, norm in pairwise(leaves)
        if isinstance(norm, nn.BatchNorm2d) and norm.weight.requires_grad and getattr(conv, "bias", None) is not None
    }


def assert_summary(tensor: Tensor, summary: dict[str, Any], rtol: float) -> None:
    """Compare with a stored summary: number of elements, mean, norm and some elements."""
    flat = tensor.detach().flatten().numpy()
    assert flat.size == summary["shape_numel"]
    norm = summary["l2"]
    np.testing.assert_allclose(flat.mean(), summary["mean"], rtol=rtol, atol=rtol * norm / flat.size**0.5)
    np.testing.assert_allclose(np.linalg.norm(flat), norm, rtol=rtol)
    scale = np.abs(flat).max()
    np.testing.assert_allclose(flat[summary["index"]], summary["value"], rtol=rtol, atol=rtol * scale)
