from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from polysemy.config import Config, field_notes, with_settings
from polysemy.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Plain(Config):
    pass


@dataclass(frozen=True, kw_only=True)
class Windowed(Config):
    reach: int = 4

    def check(self) -> None:
        if self.reach < 1:
            raise InputError(f"reach must be at least 1, got {self.reach}")


@dataclass(frozen=True, kw_only=True)
class Model(Config):
    size: int = 8
    """width of the states"""
    rate: float = 0.5
    kind_of_norm: Literal["pre", "post"] = "pre"
    attention: Plain | Windowed = field(default_factory=Plain)
    limit: int | None = None
    shared: bool = False
    heads: tuple[str, ...] = ("a", "b")


@pytest.mark.parametrize("model", [Model(), Model(attention=Windowed(reach=9), limit=3, heads=()), Model(rate=1)])
def test_a_config_is_equal_after_a_json_round_trip(model: Model) -> None:
    assert Model.from_dict(json.loads(json.dumps(model.to_dict()))) == model


def test_settings_reach_into_nested_choices() -> None:
    changed = with_settings(
        Model(),
        {
            "attention": "windowed",
            "attention.reach": "7",
            "shared": "true",
            "heads": "x,y,z",
            "limit": "none",
            "rate": "1e-3",
        },
    )
    assert changed == Model(attention=Windowed(reach=7), shared=True, heads=("x", "y", "z"), rate=1e-3)


@dataclass(frozen=True, kw_only=True)
class Hiding(Config):
    rate: float = 0.15


@dataclass(frozen=True, kw_only=True)
class Tokens(Hiding):
    each: bool = True


@dataclass(frozen=True, kw_only=True)
class Words(Hiding):
    longest: int = 3


@dataclass(frozen=True, kw_only=True)
class Task(Config):
    hiding: Tokens | Words = field(default_factory=Tokens)
    attention: Plain | Windowed = field(default_factory=Plain)


def test_another_kind_keeps_what_both_have_from_one_base() -> None:
    task = Task(hiding=Tokens(rate=0.4, each=False))
    assert with_settings(task, {"hiding": "words"}).hiding == Words(rate=0.4)
    assert with_settings(task, {"hiding": "words", "hiding.rate": "0.2"}).hiding == Words(rate=0.2)
    assert with_settings(task, {"hiding": "tokens"}) == task
    assert with_settings(task, {"attention": "windowed"}).attention == Windowed()


@dataclass(frozen=True, kw_only=True)
class Pair(Config):
    left: Model = field(default_factory=Model)
    right: Windowed = field(default_factory=Windowed)


@dataclass(frozen=True, kw_only=True)
class Whole(Config):
    pair: Pair = field(default_factory=Pair)


def test_a_part_of_a_name_may_be_left_out_where_one_place_alone_fits() -> None:
    short = with_settings(Whole(), {"pair.attention": "windowed", "pair.attention.reach": "7", "pair.size": "3"})
    assert short == Whole(pair=Pair(left=Model(size=3, attention=Windowed(reach=7))))
    assert with_settings(Whole(), {"pair.reach": "2"}).pair.right.reach == 2
    with pytest.raises(InputError, match=r"Whole has no setting 'pair\.reach'; did you mean 'pair"):
        with_settings(Whole(), {"pair.attention": "windowed", "pair.reach": "2"})  # two places fit
    with pytest.raises(InputError, match=r"did you mean 'pair\.left\.size'"):
        with_settings(Whole(), {"size": "3"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sise": "3"}, "Model has no setting 'sise'; did you mean 'size'?"),
        ({"size": "3.5"}, "size must be a whole number, got '3.5'"),
        ({"size": "1" + "0" * 30}, "size must be a whole number"),
        ({"rate": "nan"}, "rate must be a number, got nan"),
        ({"rate": "1e400"}, "rate must be a number, got inf"),
        ({"shared": "maybe"}, "shared must be true | false, got 'maybe'"),
        ({"kind_of_norm": "middle"}, "kind_of_norm must be pre | post, got 'middle'"),
        ({"attention": "linear"}, "attention must be plain | windowed, got 'linear'"),
        ({"attention.reach": "2"}, "Plain has no setting 'reach'"),
        ({"size.x": "2"}, "size.x must name a setting"),
        ({"attention": "windowed", "attention.reach": "0"}, "reach must be at least 1, got 0"),
    ],
)
def test_a_bad_setting_is_one_clear_line(settings: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        with_settings(Model(), settings)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        {"size": "8"},
        {"size": 8.0},
        {"size": True},
        {"size": 10**30},
        {"rate": float("nan")},
        {"shared": 1},
        {"extra": 1},
        {"attention": {"kind": "Other"}},
        {"attention": 3},
        {"heads": [1, 2]},
        {"kind": "Windowed"},
        {"heads": "ab"},
        [],
    ],
)
def test_damaged_json_is_refused_by_type_not_coerced(data: object) -> None:
    with pytest.raises(InputError):
        Model.from_dict(data)  # type: ignore[arg-type]


def test_notes_are_read_from_the_source() -> None:
    assert field_notes(Model) == {"size": "width of the states"}


@dataclass(frozen=True, kw_only=True)
class Named(Config):
    kind: Literal["a", "b"] = "a"


def test_a_config_may_have_a_field_called_kind() -> None:
    assert Named.from_dict(json.loads(json.dumps(Named(kind="b").to_dict()))) == Named(kind="b")
    with pytest.raises(InputError, match=r"kind must be a \| b"):
        Named.from_dict({"kind": "Named"})
