"""`Record`: frozen, slotted, keyword-only values, as `dataclasses` makes them but without its price at start-up.

Importing `dataclasses` (it needs `inspect`) and generating code for the fifteen values of this room took most of the
room's import time (docs/adr/0003-records.md). A Record is declared like a dataclass, type checkers know it as one (PEP
681), and `dataclasses.replace`, `fields` and `asdict` work on it: the table they need is made when they ask for it. The
method `replace` does the same without that import.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import Field
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**how):
        """For type checkers alone."""
        return lambda decorated: decorated


class _Missing:
    """Stands for "no default"."""

    def __repr__(self) -> str:
        return "MISSING"


_MISSING = _Missing()


class _FieldSpec:
    """What `field()` says of one field."""

    __slots__ = ("default", "default_factory", "hash", "kw_only")

    def __init__(self, default: object, default_factory: object, kw_only: bool | None, hashed: bool) -> None:
        self.default, self.default_factory, self.kw_only, self.hash = default, default_factory, kw_only, hashed


def field(
    *,
    default: Any = _MISSING,
    default_factory: Callable[[], Any] | _Missing = _MISSING,
    kw_only: bool | None = None,
    hash: bool = True,  # noqa: A002 - the name that dataclasses.field has
) -> Any:
    """A field with more to say than its default; the words mean what they mean in `dataclasses.field`."""
    return _FieldSpec(default, default_factory, kw_only, hash)


class _DataclassFields:
    """`__dataclass_fields__`, made on first use by the dataclass that the record would have been."""

    def __get__(self, instance: object, owner: _RecordType) -> dict[str, Field[Any]]:
        import dataclasses

        made: dict[str, Field[Any]] | None = owner.__dict__.get("_made_fields")
        if made is None:
            columns = []
            for name, spec in owner._specs.items():
                how: dict[str, Any] = {"hash": spec.hash, "kw_only": spec.kw_only}
                if spec.default is not _MISSING:
                    how["default"] = spec.default
                elif spec.default_factory is not _MISSING:
                    how["default_factory"] = spec.default_factory
                columns.append((name, object, dataclasses.field(**how)))
            twin = dataclasses.make_dataclass(owner.__name__, columns)
            made = {column.name: column for column in dataclasses.fields(twin)}
            type.__setattr__(owner, "_made_fields", made)
        return made


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class _RecordType(type):
    """Turns the annotations of a class body into slots, before the class is made."""

    _specs: dict[str, _FieldSpec]

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        kw_only: bool = True,
    ) -> _RecordType:
        specs: dict[str, _FieldSpec] = {}
        for field_name, annotation in namespace.get("__annotations__", {}).items():
            if str(annotation).startswith("ClassVar"):
                continue
            spec = namespace.pop(field_name, _MISSING)
            if not isinstance(spec, _FieldSpec):
                spec = _FieldSpec(spec, _MISSING, None, True)
            if spec.kw_only is None:
                spec.kw_only = kw_only
            specs[field_name] = spec
        namespace["__slots__"] = tuple(specs)
        namespace["__match_args__"] = tuple(name for name, spec in specs.items() if not spec.kw_only)
        cls = super().__new__(mcls, name, bases, namespace)
        cls._specs = specs
        return cls


class Record(metaclass=_RecordType):
    """Base of values: made once, compared by content, never changed; `replace` gives a changed copy."""

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
        __match_args__: ClassVar[tuple[str, ...]]

        def __init__(self, *values: Any, **named: Any) -> None: ...

    else:
        __dataclass_fields__ = _DataclassFields()

        def __init__(self, *values, **named):
            cls = type(self)
            if values:
                named = _with_positional(cls, values, named)
            for name, spec in cls._specs.items():
                if name in named:
                    value = named.pop(name)
                elif spec.default is not _MISSING:
                    value = spec.default
                elif spec.default_factory is not _MISSING:
                    value = spec.default_factory()
                else:
                    raise TypeError(f"{cls.__name__}() needs {name!r}")
                _set(self, name, value)
            if named:
                raise TypeError(f"{cls.__name__}() has no field {next(iter(named))!r}")

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        values = {name: getattr(self, name) for name in type(self)._specs}
        values.update(changes)
        return type(self)(**values)

    __replace__ = replace  # copy.replace, Python 3.13

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in type(self)._specs)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name, spec in type(self)._specs.items() if spec.hash))

    def __repr__(self) -> str:
        cls = type(self)
        return f"{cls.__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in cls._specs)})"

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """For pickle and copy: they would set attributes, which a frozen value refuses."""
        cls = type(self)
        return _rebuild, (cls, tuple(getattr(self, name) for name in cls._specs))


_set = object.__setattr__


def _rebuild(cls: _RecordType, values: tuple[object, ...]) -> object:
    return cls(**dict(zip(cls._specs, values, strict=True)))


def _with_positional(cls: _RecordType, values: tuple[object, ...], named: dict[str, object]) -> dict[str, object]:
    names = [name for name, spec in cls._specs.items() if not spec.kw_only]
    if len(values) > len(names):
        raise TypeError(f"{cls.__name__}() takes {len(names)} positional values, got {len(values)}")
    for name, value in zip(names, values, strict=False):
        if name in named:
            raise TypeError(f"{cls.__name__}() got {name!r} twice")
        named[name] = value
    return named
