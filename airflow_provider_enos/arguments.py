"""What can be said of an operator's arguments when its DAG is parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any

from airflow_provider_enos.api.errors import InvalidSettingError

_MARKS = ("{{", "{%", "{#")

#: The longest duration that an argument takes. A stream that is waited for longer needs a sensor in
#: a DAG that runs again, and Airflow keeps the ends of waits as dates, which end in the year 9999.
LONGEST = timedelta(days=366)


def has_template(value: Any) -> bool:
    """Whether a value is known only at run time: a template, or a value of another task."""
    if isinstance(value, str):
        return any(mark in value for mark in _MARKS)
    if isinstance(value, Mapping):
        return any(has_template(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple | AbstractSet):
        return any(has_template(one) for one in value)
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
    if isinstance(value, list | tuple | AbstractSet):
        return any(is_lazy(one) for one in value)
    return _is_reference(value)


def seconds(value: timedelta | float, name: str, *, least: float) -> float:
    """
    Read a duration given in seconds or as ``timedelta``.

    :raises InvalidSettingError: it is no number, below ``least``, or above ``LONGEST``.
    """
    number: object = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    most = LONGEST.total_seconds()
    if not is_number or not least <= number <= most:  # type: ignore[operator]
        allowed = f"a timedelta, or seconds, from {least:g} to {most:g} s ({LONGEST.days} days)"
        raise InvalidSettingError.of(name, value, allowed)
    return float(number)  # type: ignore[arg-type]


def flag(value: object, name: str) -> bool:
    """
    Read a Boolean; a text such as ``"false"`` would be true.

    :raises InvalidSettingError: it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise InvalidSettingError.of(name, value, "True or False")
    return value


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
