"""Frozen dataclass configs: check, copy with changes, write as JSON and read back.

A field that offers a choice is typed as a union of config classes (`Tokens | WholeWords | Spans`); in JSON
every config carries its class name under "kind" (unless it has a field of that name; then it is no member of a union).
The string written under a field is its note, shown in help.
"""
from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import math
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Self, TypeVar

from polysemy.errors import InputError

MAX_INTEGER = 2**53  # beyond it JSON readers disagree
C = TypeVar("C", bound="Config")
_rules: ContextVar[bool] = ContextVar("config_rules", default=True)
"""whether rules between fields are held now; not while several settings are on their way to fit each other"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Base of every config: immutable, comparable, and equal after a JSON round trip.

    Values are checked against the field's type when an object is made; a subclass adds rules in `check`.
    """

    def __post_init__(self) -> None:
        for name, hint in hints_of(type(self)).items():
            value = getattr(self, name)
            if not _fits(hint, value):
                raise InputError(f"{name} must be {describe(hint)}, got {value!r}")
            if _is_float(hint) and type(value) is int:
                object.__setattr__(self, name, float(value))
        if _rules.get():
            self.check()

    def check(self) -> None:
        """Rules between fields; raises InputError.  A subclass overrides it."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; an unknown name is an error that names the nearest."""
        self._refuse_unknown(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` gives an equal object back."""
        fields = {field.name: _encode(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return fields if "kind" in fields else {"kind": type(self).__name__, **fields}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The config that `to_dict` wrote; unknown keys, wrong types and wrong kinds are InputErrors."""
        if not isinstance(data, Mapping):
            raise InputError(f"{cls.__name__} must be a JSON object, got {type(data).__name__}")
        hints, values = hints_of(cls), dict(data)
        if "kind" not in hints and (kind := values.pop("kind", cls.__name__)) != cls.__name__:
            raise InputError(f"kind must be {cls.__name__!r}, got {kind!r}")
        cls._refuse_unknown(values)
        return cls(**{name: _decode(hints[name], value, name) for name, value in values.items()})

    @classmethod
    def _refuse_unknown(cls, names: Mapping[str, Any]) -> None:
        known = hints_of(cls)
        for name in names:
            if name not in known:
                raise InputError(f"{cls.__name__} has no setting {name!r}{nearest(name, known)}")


def with_settings(config: C, settings: Mapping[str, str]) -> C:
    """`config` with dotted settings, each value given as text (`{"model.dropout": "0.1"}`), in any order.

    A union of configs takes a class name in any case (`corruption=spans`) and that class's own fields; what two kinds
    have from one base stays (the rate of `corruption`).  A part of a name may be left out where one place alone fits
    (`model.attention` for `model.transformer.attention`).  Rules between fields hold for the result, not on the way
    to it.
    """
    held = _rules.set(False)
    try:
        changed: Config = config
        for path, text in sorted(settings.items(), key=lambda item: item[0].count(".")):  # kinds before their fields
            words = _in_full(changed, path.replace("-", "_").split("."))
            if words[0] not in hints_of(type(config)) or (len(words) > 1 and not _leads(changed, words)):
                _tell_place(config, path, words)
            changed = _set(changed, words, text, path)
    finally:
        _rules.reset(held)
    return type(config).from_dict(changed.to_dict())


def _in_full(config: Config, words: list[str]) -> list[str]:
    """A dotted name with the parts that were left out below its first one, if it leads nowhere without them."""
    inner = getattr(config, words[0], None)
    if len(words) == 1 or _leads(config, words) or not isinstance(inner, Config):
        return words
    places = [place for place, found in _inside(inner, "") if _leads(found, words[1:])
              and words[1] in hints_of(type(found))]
    return [words[0], *places[0].split("."), *words[1:]] if len(places) == 1 else words


def _leads(config: Any, path: list[str]) -> bool:
    """Whether every part of a dotted name but the last is a config that has the next part."""
    for name in path[:-1]:
        if not isinstance(config, Config) or name not in hints_of(type(config)):
            return False
        config = getattr(config, name)
    return not isinstance(config, Config) or path[-1] in hints_of(type(config))


def _tell_place(config: Config, path: str, words: list[str]) -> None:
    """InputError that names where a setting of the last words lies, if it lies somewhere else."""
    for start in range(len(words)):
        rest = words[start:]
        for place, inner in _inside(config, ""):
            if rest[0] in hints_of(type(inner)) and (len(rest) == 1 or _leads(inner, rest)):
                raise InputError(f"{type(config).__name__} has no setting {path!r}; did you mean "
                                 f"{'.'.join([*place.split('.'), *rest]).lstrip('.')!r}?")


def _inside(config: Config, place: str) -> Iterator[tuple[str, Config]]:
    for name in hints_of(type(config)):
        value = getattr(config, name)
        if isinstance(value, Config):
            inner = f"{place}.{name}".lstrip(".")
            yield inner, value
            yield from _inside(value, inner)


@functools.cache
def field_notes(cls: type[Config]) -> dict[str, str]:
    """The string written under each field in the source, by field name."""
    notes: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, Config) and base is not Config:
            definition = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
            assert isinstance(definition, ast.ClassDef)
            for field, note in zip(definition.body, definition.body[1:], strict=False):
                if (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                        and isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant)):
                    notes[field.target.id] = " ".join(str(note.value.value).split())
    return notes


@functools.cache
def hints_of(cls: type[Config]) -> dict[str, Any]:
    """The resolved type of each field, by name."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def describe(hint: Any) -> str:
    """The values a field takes, in words, for help and errors."""
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(str, typing.get_args(hint)))
    if _is_union(hint):
        return " | ".join(describe(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)
        return f"a list of {describe(item[0])}" if item[-1] is Ellipsis else f"{len(item)} values"
    if hint is types.NoneType:
        return "none"
    words = {int: "a whole number", float: "a number", bool: "true | false", str: "text"}
    return words[hint] if hint in words else str(hint.__name__).lower()


def nearest(name: str, known: Mapping[str, Any] | typing.Iterable[str]) -> str:
    """`; did you mean 'x'?` when something known is close, else the list of what is known."""
    names = list(known)
    if not names:
        return "; it has none: choose another kind first, as in model.transformer.attention=local"
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(names)}"


def _encode(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    return [_encode(item) for item in value] if isinstance(value, tuple) else value


def _decode(hint: Any, value: Any, name: str) -> Any:
    if isinstance(value, list):
        options = [o for o in (typing.get_args(hint) if _is_union(hint) else (hint,)) if typing.get_origin(o) is tuple]
        if not options:
            raise InputError(f"{name} must be {describe(hint)}, got a list")
        items = typing.get_args(options[0])
        kinds = [items[0]] * len(value) if items[-1] is Ellipsis else items
        if len(kinds) != len(value):
            raise InputError(f"{name} must be {describe(hint)}, got {len(value)} values")
        return tuple(_decode(kind, item, name) for kind, item in zip(kinds, value, strict=True))
    if not isinstance(value, Mapping):
        return value
    options = _config_classes(hint)
    for option in options:
        if len(options) == 1 or option.__name__ == value.get("kind"):
            return option.from_dict(value)
    raise InputError(f"{name}: kind must be {' | '.join(t.__name__ for t in options) or 'absent'}, "
                     f"got {value.get('kind')!r}")


def _set(config: Config, path: list[str], text: str, flag: str) -> Any:
    head, *rest = path
    config._refuse_unknown({head: text})
    old, hint = getattr(config, head), hints_of(type(config))[head]
    if rest:
        if not isinstance(old, Config):
            raise InputError(f"{flag} must name a setting, but {head} is {old!r} and has none")
        return config.replace(**{head: _set(old, rest, text, flag)})
    new = _parse(hint, str(text).strip(), flag)
    return config.replace(**{head: _kept(old, new) if isinstance(old, Config) and isinstance(new, Config) else new})


def _kept(old: Config, new: Config) -> Config:
    """`new` with what `old` says in the fields of a base that both kinds have: another kind hides as much as before."""
    shared = next(base for base in type(new).__mro__ if base in type(old).__mro__)
    return new.replace(**{name: getattr(old, name) for name in hints_of(shared)})


def _parse(hint: Any, text: str, flag: str) -> Any:
    for option in typing.get_args(hint) if _is_union(hint) else (hint,):
        if option is types.NoneType and text.lower() == "none":
            return None
        if typing.get_origin(option) is typing.Literal:
            for choice in typing.get_args(option):
                if text == str(choice):
                    return choice
        elif typing.get_origin(option) is tuple:
            items = typing.get_args(option)
            words = [word for word in text.split(",") if word]
            kinds = [items[0]] * len(words) if items[-1] is Ellipsis else items
            if len(kinds) == len(words):
                return tuple(_parse(kind, word, flag) for kind, word in zip(kinds, words, strict=True))
        elif isinstance(option, type) and issubclass(option, Config):
            if text.lower().replace("_", "") == option.__name__.lower():
                return option()
        elif option is bool:
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
        elif option in (int, float):
            try:
                return option(text)
            except ValueError:
                continue
        elif option is str:
            return text
    raise InputError(f"{flag} must be {describe(hint)}, got {text!r}")


def _fits(hint: Any, value: Any) -> bool:
    if _is_union(hint):
        return any(_fits(option, value) for option in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        items = typing.get_args(hint)
        if not isinstance(value, tuple):
            return False
        kinds = [items[0]] * len(value) if items[-1] is Ellipsis else items
        return len(kinds) == len(value) and all(map(_fits, kinds, value))
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint is int:
        return type(value) is int and abs(value) <= MAX_INTEGER
    if isinstance(hint, type):
        return type(value) is hint if hint in (bool, str) else isinstance(value, hint)
    return True


def _is_float(hint: Any) -> bool:
    return hint is float or (_is_union(hint) and float in typing.get_args(hint) and int not in typing.get_args(hint))


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _config_classes(hint: Any) -> list[type[Config]]:
    options = typing.get_args(hint) if _is_union(hint) else (hint,)
    return [option for option in options if isinstance(option, type) and issubclass(option, Config)]
