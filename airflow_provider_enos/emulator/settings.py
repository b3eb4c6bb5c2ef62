"""What may differ between one EnOS and another, or is not documented: a test sets what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints


@dataclass(slots=True)
class Settings:
    """
    The emulator's switches; assign to them at any time. A wrong name or value is refused.

    :param start_seconds: From an accepted start until the pipeline runs (or fails to); None: until
        :meth:`Emulator.finish_transition`. The same for stop and pause.
    :param stop_seconds: From an accepted stop until the pipeline is stopped.
    :param pause_seconds: From an accepted pause until the pipeline is paused.
    :param status_while_starting: Status shown meanwhile; None: the old one stays.
    :param status_while_stopping: Status shown meanwhile; None: the old one stays.
    :param status_while_pausing: Status shown meanwhile; None: the old one stays.
    :param release_keeps_status: Whether a stopped or paused pipeline stays so when it is released
        again; else it is PUBLISHED.
    :param lag_interval_seconds: Pause between two measurements of the lag; 0: each look measures.
    :param lag_drains: Whether running pipelines work their lag off, ``kafkaRate`` records a second.
    :param lock_seconds: How long an accepted start keeps other starts of the organization out
        (61121): a number, a function called for each start, or None: until the start is done.
    :param blocking_start: Whether a start is answered only once it is done.
    :param list_count: Whether ``count`` in List Pipelines is the total or that of the page.
    :param refusal_status: HTTP status of an answer whose code is not 0.
    :param request_id: Whether answers carry ``requestId``.
    :param write_data: Whether ``data`` of a write is missing (samples) or empty text (tables).
    :param token_seconds: Lifetime of an access token.
    :param token_status_key: Name of the status in answers of the token service; some of the
        documentation's samples spell it ``stauts``.
    :param expired_token_answer: Answer to an expired or revoked token: HTTP 401, or HTTP 200 with
        code 1203 or with ``apim_status`` 4011.
    """

    start_seconds: float | None = 0.0
    stop_seconds: float | None = 0.0
    pause_seconds: float | None = 0.0
    status_while_starting: str | None = "STARTING"
    status_while_stopping: str | None = "STOPPING"
    status_while_pausing: str | None = "PAUSING"
    release_keeps_status: bool = False
    lag_interval_seconds: float = 0.0
    lag_drains: bool = False
    lock_seconds: float | Callable[[], float] | None = None
    blocking_start: bool = False
    list_count: Literal["total", "page"] = "total"
    refusal_status: Literal[200, 400] = 200
    request_id: bool = True
    write_data: Literal["missing", "empty"] = "missing"
    token_seconds: float = 7200.0
    token_status_key: Literal["status", "stauts"] = "status"
    expired_token_answer: Literal["401", "1203", "4011"] = "401"

    def __setattr__(self, name: str, value: Any) -> None:
        """
        Set one switch.

        :raises ValueError: the value does not fit.
        :raises AttributeError: there is no such switch.
        """
        if name not in _FIELDS:
            raise AttributeError(f"no setting {name!r}; there are {', '.join(_FIELDS)}")
        if not _fits(name, value):
            raise ValueError(f"{value!r} does not fit setting {name!r}")
        object.__setattr__(self, name, value)

    def update(self, values: dict[str, Any]) -> None:
        """
        Set several switches, or none if one of them is wrong.

        :raises ValueError: a value does not fit.
        :raises AttributeError: there is no such switch.
        """
        trial = Settings()
        for name, value in values.items():
            setattr(trial, name, value)
        for name, value in values.items():
            setattr(self, name, value)

    def as_json(self) -> dict[str, Any]:
        """All switches; a function shows as the text ``function``."""
        values = {name: getattr(self, name) for name in _FIELDS}
        return {name: "function" if callable(value) else value for name, value in values.items()}

    def fixed_lock_seconds(self) -> float:
        """How long the start that is just accepted holds the lock, done or not."""
        if callable(self.lock_seconds):
            return self.lock_seconds()
        return self.lock_seconds or 0.0


def _fits(name: str, value: object) -> bool:
    if name.endswith("_seconds"):
        if value is None:
            return name in _MAY_BE_NONE
        if name == "lock_seconds" and callable(value):
            return True
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and 0 <= value < float("inf")  # type: ignore[operator]
    if name.startswith("status_while_"):
        return value is None or (isinstance(value, str) and value != "")
    choices = get_args(_TYPES[name]) or (True, False)
    return value in choices and type(value) is type(choices[0])


_MAY_BE_NONE = {"start_seconds", "stop_seconds", "pause_seconds", "lock_seconds"}
_FIELDS = tuple(field.name for field in fields(Settings))
_TYPES = get_type_hints(Settings)
