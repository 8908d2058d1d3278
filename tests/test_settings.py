"""Every setting of every preset and command: values just outside its range and of other types are refused, with its
name and before anything is written, from Python, ``config.json`` and the command line alike."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest

from fastsep import (
    cli,
    compare,
    evaluate,
    gen_example,
    gen_mnist,
    gen_wave,
    import_official,
    prepare_chairs,
    prepare_sst,
    presets,
    train,
)
from fastsep.config import EvaluateConfig
from fastsep.config_file import from_json, to_json
from fastsep.data.sst.settings import Region
from fastsep.errors import UserError
from fastsep.presets import all_presets
from fastsep.settings import Setting, Settings, settings_of

PRESETS = {name: lambda config=config: config for name, (config, _) in all_presets().items()}
PARTS = ("data", "model", "objective", "optim", "run")
COMMANDS = {
    "gen_wave": (gen_wave.Arguments, ["--out", "o"]),
    "gen_mnist": (gen_mnist.Arguments, ["--out", "o"]),
    "gen_example": (gen_example.Arguments, ["plume", "--out", "o"]),
    "prepare_chairs": (prepare_chairs.Arguments, ["s"]),
    "prepare_sst": (prepare_sst.Arguments, ["s"]),
    "import_official": (import_official.Arguments, ["s", "--out", "o"]),
    "evaluate": (evaluate.Arguments, ["s"]),
    "compare": (compare.Arguments, ["s"]),
}
NESTED = {"evaluate": EvaluateConfig, "prepare_sst": Region}
POSITIONAL = {"name", "run", "runs", "source", "sources", "directory"}
ALL = {
    (cls, setting.name): setting
    for cls in (
        *(type(getattr(preset(), part)) for preset in PRESETS.values() for part in PARTS),
        *(kind for kind, _ in COMMANDS.values()),
        EvaluateConfig,
        Region,
    )
    for setting in settings_of(cls)
}


def just_outside(setting: Setting) -> list[Any]:
    """The numbers next to the range."""
    if setting.range is None:
        return []
    low, high, above = setting.range.low, setting.range.high, setting.range.above
    if setting.kind is int:
        values = [low - 1, high + 1]
    else:
        values = [float(low) if above else math.nextafter(low, -math.inf), math.nextafter(high, math.inf)]
    return [[value] for value in values] if setting.several else values


def edges(setting: Setting) -> list[Any]:
    """The first and the last numbers within the range."""
    low, high, above = setting.range.low, setting.range.high, setting.range.above
    values = [math.nextafter(low, math.inf) if above else low, high]
    return [[value] for value in values] if setting.several else values


def of_other_types(setting: Setting) -> list[Any]:
    """Values of JSON that are none of this setting."""
    kind = setting.kind
    values: list[Any] = [{}, {"a": 1}] if setting.optional else [None, {}, {"a": 1}]
    if setting.several:
        return [*values, 1, "12", [None], [{}], *([["1"], [1.5], [True]] if kind is int else [[3]])]
    values += [[], [1]]
    if kind is int:
        return [*values, True, 1.5, "1", "fast", math.nan, 10**400]
    if kind is float:
        return [*values, True, "1", "fast", math.nan, math.inf, -math.inf, 10**400]
    if kind is bool:
        return [*values, 0, 1, "yes"]
    if kind is Path:
        return [*values, True, 3, "a\0b", "~nobody-of-that-name/x"]
    return [*values, True, 3, "", "nonsense"]


def words(setting: Setting, value: Any) -> list[str] | None:
    """The value as a command line gives it, if one can and it then is another than a good one."""
    if setting.several != isinstance(value, list) or (setting.several and setting.kind is str):  # any word is a name
        return None
    items = value if setting.several else [value]
    if not items or not all(isinstance(item, int | float | str) for item in items):
        return None
    return None if items[0] in ("", "1", "a\0b") else [f"{item}" for item in items]


@pytest.mark.parametrize(("cls", "name"), ALL, ids=lambda part: part if isinstance(part, str) else part.__module__)
def test_every_setting_says_which_values_it_takes(cls: type, name: str) -> None:
    setting = ALL[cls, name]
    if setting.kind in (int, float):
        assert setting.range is not None
        for value in edges(setting):
            assert setting.check(value) == (tuple(value) if setting.several else value)
    elif setting.kind is str:
        assert setting.pattern is not None
    else:
        assert setting.kind in (bool, Path) or get_origin(setting.kind) is Literal


@pytest.mark.parametrize("preset", PRESETS)
def test_from_python_and_json(preset: str) -> None:
    config = PRESETS[preset]()
    for part in PARTS:
        settings = getattr(config, part)
        for setting in settings_of(type(settings)):
            for value in (*just_outside(setting), *of_other_types(setting)):
                with pytest.raises(UserError, match=f"{setting.name} is .*set {setting.flag} to "):
                    replace(settings, **{setting.name: value})
                values = json.loads(to_json(config))
                values[part][setting.name] = value
                with pytest.raises(UserError, match=f"^config.json: {setting.name} is .*set {setting.flag} to "):
                    from_json(json.dumps(values))


@pytest.mark.parametrize("kind", [*(kind for kind, _ in COMMANDS.values()), *NESTED.values()])
def test_arguments_from_python(kind: type) -> None:
    missing = (dataclasses.MISSING, dataclasses.MISSING)
    fields = (field.name for field in dataclasses.fields(kind) if (field.default, field.default_factory) == missing)
    required = {
        name: {"sources": (Path("p"),), "runs": (Path("p"),), "name": "plume"}.get(name, Path("p")) for name in fields
    }
    assert kind(**required)
    for setting in settings_of(kind):
        for value in (*just_outside(setting), *of_other_types(setting)):
            with pytest.raises(UserError, match=f"{setting.name} is .*set {setting.flag} to "):
                kind(**(required | {setting.name: value}))


def check_command_line(parse: Any, kind: type, capsys: pytest.CaptureFixture) -> None:
    """It says which option it does not take, for the numbers next to each range and one word of another type."""
    for setting in settings_of(kind):
        if setting.kind in (bool, Path) or setting.name in POSITIONAL:  # any word is a path
            continue
        given = [words(setting, value) for value in (*just_outside(setting), *of_other_types(setting)[::-1])]
        given = [value for value in given if value is not None]
        for value in given[: 3 if setting.range else 1]:
            with pytest.raises(UserError) as caught:
                parse([f"{setting.flag}={value[0]}"] if value[0].startswith("-") else [setting.flag, *value])
            message = str(caught.value)
            assert f"set {setting.flag} to " in message or message.startswith(f"{setting.flag} takes "), message
            assert "\n" not in message and not capsys.readouterr().err


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_from_the_command_line(preset: str, capsys: pytest.CaptureFixture) -> None:
    name = preset.replace("_", "-")
    assert train._parse_preset([name]) == PRESETS[preset]()
    for part in PARTS if preset == "wave" else ("data",):  # the other parts are of the same types in every preset
        kind = type(getattr(PRESETS[preset](), part))
        check_command_line(lambda given: train._parse_preset([name, *given]), kind, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_from_the_command_line(command: str, capsys: pytest.CaptureFixture) -> None:
    kind, base = COMMANDS[command]
    assert cli.parse(kind, command, base)
    for settings in {kind, NESTED.get(command, kind)}:
        check_command_line(lambda given: cli.parse(kind, command, [*base, *given]), settings, capsys)


@dataclasses.dataclass(frozen=True)
class Example(Settings):
    number: Literal["a"] | None = None
    several: tuple[Path, ...] = ()


def test_values_are_kept_in_the_settings_own_types() -> None:
    optim = replace(
        PRESETS["wave"]().optim, lr=1, steps=np.int64(3), milestones=[np.int32(1), 2], clip_norm=np.float32(2)
    )
    assert (optim.lr, optim.steps, optim.milestones, optim.clip_norm) == (1.0, 3, (1, 2), 2.0)
    assert [type(value) for value in (optim.lr, optim.steps, optim.clip_norm, *optim.milestones)] == [
        float, int, float, int, int,
    ]  # fmt: skip
    assert Example("a", ["x", Path("y")]) == Example("a", (Path("x"), Path("y")))
    with pytest.raises(UserError, match="number is 'b': set --number to a, or none"):
        Example("b")


def test_messages_name_value_and_remedy() -> None:
    optim = PRESETS["wave"]().optim
    for change, message in (
        ({"lr": 0}, "lr is 0: set --lr to a number above 0, up to 1e+30"),
        ({"batch_size": 0}, "batch_size is 0: set --batch-size to a whole number from 1 to 10,000,000, or none"),
        ({"schedule": "linear"}, "schedule is 'linear': set --schedule to constant, milestones or one_cycle"),
        ({"milestones": "3"}, "milestones is '3': set --milestones to whole numbers from 1 to 99,999,999"),
        ({"steps": -1}, "steps is -1: set --steps to a whole number from 1 to 99,999,999, or none"),
    ):
        with pytest.raises(UserError) as caught:
            replace(optim, **change)
        assert str(caught.value) == message


def test_numbers_too_long_to_write_are_refused() -> None:
    with pytest.raises(UserError, match="steps is a number of thousands of digits"):
        replace(PRESETS["wave"]().optim, steps=10**5000)


def test_choices_are_texts_alone() -> None:
    for setting in ALL.values():
        if get_origin(setting.kind) is Literal:
            assert all(isinstance(choice, str) for choice in get_args(setting.kind))


def test_a_preset_takes_settings_by_their_names_alone():
    config = presets.preset("wave100-onecycle", steps=7, seed=2, lamb_t=0.5, code_size_s=8, code_size_t=8, frames=90)
    found = config.optim.steps, config.run.seed, config.objective.lamb_t, config.model.code_size_s, config.data.frames
    assert found == (7, 2, 0.5, 8, 90)
    assert (
        presets.preset("wave100_onecycle") == presets.wave100_onecycle() == presets.preset("wave100-onecycle").having()
    )
    own = presets.preset("frames", data="mine.nc", batch_size=4)
    assert own.data.data == Path("mine.nc") and own.model.encoder == "auto" and own.optim.batch_size == 4
    auto = presets.preset("wave", encoder="auto", decoder="auto", shape=(), code_size_t=32)
    assert auto == train._parse_preset(["wave", "--encoder", "auto", "--decoder", "auto", "--shape"]).having(
        code_size_t=32
    )
    assert config.having(epochs=3).optim.steps is None


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("wavy", {}, "there is no preset wavy, but wave, wave_onecycle"),
        ("wave", {"learning_rate": 1}, "there is no setting learning_rate: python -m fastsep.train PRESET --help"),
        ("wave", {"variable": ("t",)}, "there is no setting variable"),
        ("wave", {"epochs": 3, "steps": 9}, "steps and epochs both say how long"),
        ("wave", {"lr": -1}, "set --lr to a number above 0"),
        ("mnist", {"skip": True, "no_s": True}, "do without --skip or --no-s"),
    ],
)
def test_a_preset_refuses_what_there_is_not(name, settings, words):
    with pytest.raises(UserError, match=words):
        presets.preset(name, **settings)
