"""Runs of the authors' code are imported exactly, and nothing in their pickles is run."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import build_model, load_case, recipe_weight, video
from torch import nn

from fastsep.errors import UserError
from fastsep.runs.checkpoint import load_model
from fastsep.runs.official import import_run, read_settings
from fastsep.runs.official_pickle import read_module

FILE_OF = {"Es": "ov_Es", "Et": "ov_Et", "decoder": "decoder", "t_resnet": "t_resnet"}
DATA = {"mnist": "mnist", "taxibj": "taxibj", "chairs": "chairs", "wave": "wave"}


def leaf(table: list[dict[str, Any]]) -> nn.Module:
    """A layer like the authors' with the recipe's weights for the given rows (weight and bias) of the table."""
    shape = table[0]["shape"]
    if len(shape) == 1:
        layer: nn.Module = nn.BatchNorm2d(shape[0])
    elif len(shape) == 2:
        layer = nn.Linear(np.prod(np.array([shape[1]])), shape[0])  # sizes of theirs were NumPy numbers, too
    else:
        layer = nn.Conv2d(1, 1, 3)
    for row in table:
        weight = recipe_weight(row["k"], row["name"], tuple(row["shape"])).float()
        setattr(layer, row["name"].rsplit(".")[-1], nn.Parameter(weight))
    return layer


@pytest.fixture
def authors(monkeypatch: pytest.MonkeyPatch) -> type[nn.Module]:
    """A class that pickles as one of the authors' networks."""
    names = ["var_sep", "var_sep.networks", "var_sep.networks.conv"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    network = type("DCGAN64Encoder", (nn.Module,), {"__module__": names[-1]})
    sys.modules[names[-1]].DCGAN64Encoder = network
    return network


def write_official_run(
    directory: Path, case_name: str, network: type[nn.Module], zipped: bool = True, settings: bool = True
) -> dict[str, Any]:
    """Save what the authors' training saves, with golden weights."""
    case = load_case(case_name)
    c = case["config"]
    roots = {root: network() for root in FILE_OF}
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in case["parameters"]:
        rows.setdefault(row["name"].rsplit(".", 1)[0], []).append(row)
    for path, table in rows.items():
        root, *names = path.split(".")
        parent = roots[root]
        for name in names[:-1]:
            if name not in parent._modules:
                parent.add_module(name, nn.Sequential())
            parent = parent._modules[name]
        parent.add_module(names[-1], leaf(table))
    directory.mkdir()
    for root, module in roots.items():
        torch.save(module, directory / f"{FILE_OF[root]}.pt", _use_new_zipfile_serialization=zipped)
    params = {
        "data": DATA[case_name.split("_")[0]], "architecture": c["enc"], "decoder_architecture": c["dec"],
        "nt_cond": c["nt_cond"], "nt_pred": c["nt_pred"], "code_size_t": c["ct"],
        "code_size_s": c["cs"] + 3 * c["no_s"],
        "mixing": "concat" if c["no_s"] else c["mixing"], "skipco": c["skip"], "res_hidden_size": c["res_hidden"],
        "n_blocks": c["n_blocks"], "enc_hidden_size": c["eh"], "dec_hidden_size": c["dh"], "enc_n_layers": c["el"],
        "dec_n_layers": c["dl"], "no_s": c["no_s"], "offset": c["offset"], "lr": c["lr"], "lamb_ae": 10,
        "scheduler": True, "scheduler_milestones": [3, 5], "scheduler_decay": 0.25, "xp_dir": "/somewhere",
    }  # fmt: skip
    if settings:
        (directory / "params.json").write_text(json.dumps(params))
    return case


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("case_name", ["mnist", "mnist_no_s", "mnist_skip", "taxibj", "wave"])
def test_imported_run_forecasts_the_same(
    case_name: str, zipped: bool, tmp_path: Path, authors: type[nn.Module]
) -> None:
    case = write_official_run(tmp_path / "theirs", case_name, authors, zipped)
    import_run(tmp_path / "theirs", tmp_path / "ours")
    imported, config, _ = load_model(tmp_path / "ours")
    expected = build_model(case).float().eval()
    cond = video(case)[:, : case["config"]["nt_cond"]].float()
    with torch.no_grad():
        torch.testing.assert_close(imported.forecast(cond, 6), expected.forecast(cond, 6), rtol=0, atol=0)
    assert config.optim.schedule == "milestones"
    assert config.optim.milestones == (3, 5)
    assert config.optim.gamma == 0.25
    assert config.objective.nt_pred == 4


def test_every_tensor_of_a_resnet_run_is_taken_over(tmp_path: Path, authors: type[nn.Module]) -> None:
    case = write_official_run(tmp_path / "theirs", "chairs", authors)
    import_run(tmp_path / "theirs", tmp_path / "ours")
    torch.testing.assert_close(
        load_model(tmp_path / "ours")[0].state_dict(), build_model(case).float().state_dict(), rtol=0, atol=0
    )


def test_running_statistics_and_shared_storage_are_read(tmp_path: Path) -> None:
    norm = nn.BatchNorm2d(3)
    norm.running_mean.copy_(torch.arange(9.0).view(3, 3).T[1])  # a strided view of a larger storage
    norm.running_var = torch.arange(9.0).view(3, 3).T[2]
    torch.save(norm, tmp_path / "norm.pt")
    stored = read_module(tmp_path / "norm.pt")
    assert [name for name, _ in stored.parameters] == ["weight", "bias"]
    torch.testing.assert_close(dict(stored.buffers), dict(norm.named_buffers()))


class Evil:
    """Unpickling this runs a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_by_name(zipped: bool, tmp_path: Path, authors: type[nn.Module]) -> None:
    write_official_run(tmp_path / "theirs", "mnist", authors)
    module = nn.Linear(2, 2)
    module.evil = Evil(tmp_path / "harm")
    torch.save(module, tmp_path / "theirs" / "decoder.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"decoder.pt asks for (posix|nt)\.system"):
        import_run(tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch._utils", "_import_dotted_name"),
        ("torch.nn.modules.module", "torch.os.system"),
        ("fastsep.entry", "run"),
    ],
)
def test_other_names_are_refused(module: str, name: str, tmp_path: Path) -> None:
    write_legacy(tmp_path / "x.pt", f"c{module}\n{name}\n.".encode())
    with pytest.raises(UserError, match=name):
        read_module(tmp_path / "x.pt")


def test_a_pickle_cannot_change_the_functions_it_calls(tmp_path: Path) -> None:
    write_legacy(tmp_path / "x.pt", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x05\x00\x00\x00_callNs\x86b.")
    with pytest.raises(UserError, match="may not change functions"):
        read_module(tmp_path / "x.pt")


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    norm = nn.BatchNorm2d(3)
    torch.save(norm, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x.pt").read_bytes()
    assert data.count(b"K\x03\x85") >= 4  # sizes (3,)
    (tmp_path / "x.pt").write_bytes(data.replace(b"K\x03\x85", b"K\x63\x85"))
    with pytest.raises(UserError, match="beyond its storage"):
        read_module(tmp_path / "x.pt")


def write_legacy(path: Path, root: bytes) -> None:
    """A file of the older format around a hand-made pickle of the object."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001, "type_sizes": {}}]
    parts = [pickle.dumps(part, protocol=2) for part in head]
    path.write_bytes(b"".join([*parts, root, pickle.dumps([], protocol=2)]))


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04 no archive", b"\x80\x02.", b"text", struct.pack("<q", 3), pickle.dumps({"a": 1})]
)
def test_damaged_files_give_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(UserError, match="is not a whole network of the authors' code"):
        read_module(tmp_path / "x.pt")


def test_a_pickle_that_asks_for_memory_gets_none(tmp_path: Path) -> None:
    """The number of a memo's entry is all that a damaged byte needs to ask for 30 GB."""
    write_legacy(tmp_path / "x.pt", b"\x80\x02}r\xff\xff\xff\x7f.")
    code = (
        "import resource, sys; from pathlib import Path; from fastsep.runs.official_pickle import read_module\n"
        "resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))\n"
        "try: read_module(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, 'memory' in str(error))"
    )
    command = [sys.executable, "-c", code, tmp_path / "x.pt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "UserError False\n"), done.stderr


def test_modules_that_multiply_are_refused(tmp_path: Path) -> None:
    module = nn.Sequential()
    for _ in range(40):  # each twice within the next: 2 ** 40 in all
        module = nn.Sequential(module, module)
    for zipped in (True, False):
        torch.save(module, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(UserError, match="more modules than any network"):
            read_module(tmp_path / "x.pt")


def test_truncated_files_give_one_line(tmp_path: Path) -> None:
    for zipped in (True, False):
        torch.save(nn.Linear(3, 3), tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        data = (tmp_path / "x.pt").read_bytes()
        for end in range(1, len(data) - 1, 97):
            (tmp_path / "x.pt").write_bytes(data[:end])
            with pytest.raises(UserError):
                read_module(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("params", "name", "value"),
    [
        ({"data": "mnist", "n_object": 1, "zones": [3], "downsample": 2}, "n_digits", 1),
        ({"data": "sst", "n_object": 1, "zones": [3, 7], "downsample": 4}, "zones", (3, 7)),
    ],
)
def test_a_run_keeps_which_data_it_was_trained_on(params: dict, name: str, value: object, tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps(params))
    assert getattr(read_settings(tmp_path).data, name) == value


def test_missing_and_misfitting_runs_are_refused(tmp_path: Path, authors: type[nn.Module]) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    with pytest.raises(UserError, match="--preset"):
        import_run(tmp_path, ours)
    with pytest.raises(UserError, match="no preset ice"):
        import_run(tmp_path, ours, preset="ice")
    write_official_run(theirs, "mnist", authors)
    with pytest.raises(UserError, match=r"ov_Es_7\.pt does not exist: .* --epoch"):
        import_run(theirs, ours, epoch=7)
    params = json.loads((theirs / "params.json").read_text())
    for change, message in (
        ({"code_size_t": 7}, r"last_op.1.weight in .*ov_Et.pt is 6x512 where the settings make 7x512"),
        ({"architecture": "vgg"}, r"parameters where the settings make"),
        ({"architecture": "transformer"}, "transformer"),
        ({"scheduler_milestones": [float("inf")]}, "makes no sense"),
        ({"nt_cond": "five"}, "nt_cond = 'five'"),
        ({"data": "ucf"}, "unknown data set ucf"),
        ({"n_object": "two"}, "n_digits = 'two'"),
        ({"data": "wave", "downsample": 4}, "downsample is not 2"),
    ):
        (theirs / "params.json").write_text(json.dumps(params | change))
        with pytest.raises(UserError, match=message):
            import_run(theirs, ours)
    (theirs / "params.json").write_text("{")
    with pytest.raises(UserError, match=r"params\.json"):
        import_run(theirs, ours)
    assert not ours.exists()


def test_command_line(tmp_path: Path, authors: type[nn.Module]) -> None:
    write_official_run(tmp_path / "theirs", "mnist", authors)
    theirs, ours = str(tmp_path / "theirs"), str(tmp_path / "ours")
    command = [sys.executable, "-m", "fastsep.import_official", theirs, "--out", ours]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"run: {tmp_path / 'ours'}\n"), done.stderr
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert again.returncode == 2
    assert again.stderr.startswith("error: ") and again.stderr.count("\n") == 1
