"""What can be said of an operator's arguments when its DAG is parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow_provider_enos.api.errors import InvalidSettingError

_MARKS = ("{{", "{%", "{#")


def has_template(value: Any, template_ext: Sequence[str] = ()) -> bool:
    """Whether a value is known only at run time: a template, a file, a value of another task."""
    if isinstance(value, str):
        return any(mark in value for mark in _MARKS) or value.endswith(tuple(template_ext))
    if isinstance(value, Mapping):
        return any(has_template(one, template_ext) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple):
        return any(has_template(one, template_ext) for one in value)
    return _is_reference(value)


def is_lazy(value: Any) -> bool:
    """
    Whether a value needs a worker: one of another task.

    In a triggerer a plain ``xcom_pull`` hangs and an XComArg arrives unresolved (Airflow 3.3).
    """
    if isinstance(value, str):
        return "xcom_pull" in value and "map_indexes" not in value
    if isinstance(value, Mapping):
        return any(is_lazy(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple):
        return any(is_lazy(one) for one in value)
    return _is_reference(value)


def seconds(value: timedelta | float, name: str, *, least: float) -> float:
    """
    Read a duration given in seconds or as ``timedelta``.

    :raises InvalidSettingError: it is no number, or below ``least``.
    """
    number: object = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not least <= float(str(number)) < float("inf"):
        raise InvalidSettingError.of(name, value, f"a timedelta, or seconds from {least:g} on")
    return float(str(number))


def choice(value: object, allowed: Sequence[str], name: str) -> str:
    """
    Read one of a few words, in any case.

    :raises InvalidSettingError: it is none of them.
    """
    text = value.strip().lower() if isinstance(value, str) else value
    if text not in allowed:
        raise InvalidSettingError.of(name, value, ", ".join(map(repr, allowed)))
    return str(text)


def _is_reference(value: Any) -> bool:
    # Airflow's XComArg and other values that it resolves later share this method.
    return hasattr(value, "iter_references")
