"""Pairs of name and value, as query parameters, forms and headers are given."""

import math
from collections.abc import Iterable, Mapping

from keepwarm.client.errors import InvalidInput


def iter_pairs(value: object, argument: str) -> list[tuple[object, object]]:
    """The pairs of a mapping (a multidict gives each value of a name) or of an iterable of pairs, in their order.

    Raises TypeError, naming `argument`, for anything else; text and bytes count as anything else.
    """
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, (str, bytes, bytearray, memoryview)) or not isinstance(value, Iterable):
        raise TypeError(f"{argument} must be a mapping or an iterable of pairs, got {type(value).__name__}")
    pairs = []
    for item in value:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(f"{argument} must hold pairs of name and value, got {_shape(item)}")
        pairs.append((item[0], item[1]))
    return pairs


def repeated(value: object, argument: str) -> list[tuple[object, object]]:
    """The pairs of `value`, where a list or a tuple of values repeats the name. Raises as :func:`iter_pairs`."""
    pairs: list[tuple[object, object]] = []
    for name, item in iter_pairs(value, argument):
        if isinstance(item, (list, tuple)):
            pairs += [(name, each) for each in item]
        else:
            pairs.append((name, item))
    return pairs


def text_pairs(value: object, argument: str) -> list[tuple[str, str]]:
    """The pairs of `value` with names and values as text.

    Names are str; values are str, int or float. Raises TypeError for other types (bool and None included) and
    InvalidInput for a float that is not finite; both name `argument`.
    """
    return [(_name(name, argument), _scalar(item, name, argument)) for name, item in iter_pairs(value, argument)]


def _name(name: object, argument: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{argument}: names must be str, got {type(name).__name__}")
    return str.__str__(name)


def _scalar(value: object, name: object, argument: str) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # an enum member gives its value
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"{argument}: the value of {name!r} is not a finite number", argument=argument)
        return float.__repr__(value)
    raise TypeError(f"{argument}: the value of {name!r} must be str, int or float, got {type(value).__name__}")


def _shape(item: object) -> str:
    return f"{len(item)} items" if isinstance(item, (tuple, list)) else type(item).__name__
