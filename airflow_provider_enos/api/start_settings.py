"""
What a start needs to know.

Checked before anything is sent; an error names the path of what is wrong.

Fields: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/start_pipeline
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Self

from airflow_provider_enos.api.errors import InvalidSettingError

#: EnOS's own default Kafka read rate, in records per second ("kafkaRate").
DEFAULT_KAFKA_RATE = 1000

#: Nobody documents a limit; this one (Java's largest int) only catches slips of the hand.
MAX_NUMBER = 2**31 - 1

_CU = f"a number of CU above 0, at most {MAX_NUMBER}"


class ExecutionMode(IntEnum):
    """How a pipeline runs; it decides which of the organization's resources are used."""

    STANDALONE = 0
    CLUSTER = 1

    @classmethod
    def parse(cls, value: object, path: str = "execution_mode") -> Self:
        """
        Read what people write: ``"standalone"``, ``"cluster"``, 0, 1, also as text.

        :raises InvalidSettingError: for anything else.
        """
        text = value.strip().upper() if isinstance(value, str) else value
        for mode in cls:
            if text in (mode.name, str(mode.value)) or (
                text == mode and not isinstance(text, bool)
            ):
                return mode
        raise InvalidSettingError.of(path, value, "'standalone' (0) or 'cluster' (1)")


def parse_kafka_rate(value: object, path: str = "kafka_rate") -> int:
    """
    Read the Kafka read rate, in records per second: a whole number above 0, also as text.

    :raises InvalidSettingError: for anything else.
    """
    return _whole_number(
        value, path, f"a whole number of records per second from 1 to {MAX_NUMBER}"
    )


@dataclass(frozen=True, slots=True)
class YarnConfig:
    """
    What a pipeline in cluster mode takes from Yarn.

    :param worker_count: Number of workers.
    :param master: CU of the master worker.
    :param slave: CU of each slave worker.
    """

    worker_count: int | None = None
    master: float | None = None
    slave: float | None = None

    @classmethod
    def parse(cls, value: object, path: str) -> Self:
        """Read the documented object ``{"workerCount", "master", "slave"}``."""
        given = _object(value, path, ("workerCount", "master", "slave"))
        return cls(
            worker_count=_optional(
                _whole_number,
                given,
                "workerCount",
                path,
                f"a number of workers from 1 to {MAX_NUMBER}",
            ),
            master=_optional(_number, given, "master", path, _CU),
            slave=_optional(_number, given, "slave", path, _CU),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object as EnOS documents it."""
        found = {"workerCount": self.worker_count, "master": self.master, "slave": self.slave}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ResourceConfig:
    """
    The resources of a start.

    :param server: Server resource in CU; fractions are allowed.
    :param yarn: Yarn resources; cluster mode only.
    :param advanced: Spark parameters, names and values as text; cluster mode only.
    """

    server: float | None = None
    yarn: YarnConfig | None = None
    advanced: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(
        cls, value: object, *, mode: ExecutionMode | None = None, path: str = "resource_config"
    ) -> Self:
        """
        Read what people write.

        That is the documented object, the same as JSON text, a bare number of CU (standalone
        mode), ``None`` or a :class:`ResourceConfig`. ``advanced`` is EnOS's list of
        ``{"key", "value"}``, a list of ``name=value`` or a plain mapping.

        :param mode: Also check that the parts fit this mode.
        :raises InvalidSettingError: names the path, e.g. ``resource_config.yarn.slave``.
        """
        if isinstance(value, cls):
            value = value.to_json()
        if isinstance(value, str):
            value = _from_text(value, path)
        if value is None:
            return cls()
        if _is_number(value):
            if mode is ExecutionMode.CLUSTER:
                allowed = "an object with server, yarn and advanced in cluster mode"
                raise InvalidSettingError.of(path, value, allowed)
            value = {"server": value}
        given = _object(value, path, ("server", "yarn", "advanced"))
        yarn, advanced = given.get("yarn"), given.get("advanced")
        yarn_config = None if yarn is None else YarnConfig.parse(yarn, f"{path}.yarn")
        config = cls(
            server=_optional(_number, given, "server", path, _CU),
            # A form's empty fields are as good as none.
            yarn=None if yarn_config == YarnConfig() else yarn_config,
            advanced=_spark_parameters(advanced, f"{path}.advanced"),
        )
        if mode is ExecutionMode.STANDALONE:
            for part in ("yarn", "advanced"):
                if getattr(config, part):
                    allowed = "nothing in standalone mode; it is for execution_mode 'cluster'"
                    raise InvalidSettingError.of(f"{path}.{part}", given[part], allowed)
        return config

    def to_json(self) -> dict[str, Any]:
        """Return the object as the samples of EnOS show it."""
        found: dict[str, Any] = {}
        if self.server is not None:
            found["server"] = self.server
        if self.yarn is not None:
            found["yarn"] = self.yarn.to_json()
        if self.advanced:
            found["advanced"] = [{"key": k, "value": v} for k, v in self.advanced.items()]
        return found


@dataclass(frozen=True, slots=True)
class StartSettings:
    """All that a start needs to know, checked."""

    pipeline_id: str
    execution_mode: ExecutionMode
    kafka_rate: int
    resource_config: ResourceConfig

    @classmethod
    def parse(
        cls,
        *,
        pipeline_id: object,
        execution_mode: object,
        kafka_rate: object = DEFAULT_KAFKA_RATE,
        resource_config: object = None,
    ) -> Self:
        """
        Read what a DAG, a trigger form or a template gives.

        :raises InvalidSettingError: names the field, what was given and what is allowed.
        """
        mode = ExecutionMode.parse(execution_mode)
        return cls(
            pipeline_id=parse_id(pipeline_id, "pipeline_id"),
            execution_mode=mode,
            kafka_rate=parse_kafka_rate(kafka_rate),
            resource_config=ResourceConfig.parse(resource_config, mode=mode),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the body of the start request."""
        body: dict[str, Any] = {
            "executionMode": int(self.execution_mode),
            "kafkaRate": self.kafka_rate,
        }
        if resources := self.resource_config.to_json():
            body["resourceConfig"] = resources
        return body


def parse_id(value: object, path: str) -> str:
    """
    Read the ID of a pipeline or an organization: text that can be one part of an address.

    :raises InvalidSettingError: for anything that could lead to another address.
    """
    # Templates rendered as native objects turn an ID of digits into a number.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value).strip() if isinstance(value, str) or is_number else ""
    # EnOS takes the text "null" as "a new pipeline" (page save_pipeline).
    good = text and text.lower() not in (".", "..", "null", "none") and len(text) <= 200
    if not good or not text.isprintable() or set(text) & set("/\\?#% "):
        raise InvalidSettingError.of(path, value, "the ID as the EnOS console shows it")
    return text


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object, path: str, allowed: str) -> float:
    try:
        number = float(value.strip()) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise InvalidSettingError.of(path, value, allowed)
    if number <= 0 or number > MAX_NUMBER or math.isnan(number):
        raise InvalidSettingError.of(path, value, allowed)
    return int(number) if number == int(number) else number


def _whole_number(value: object, path: str, allowed: str) -> int:
    number = _number(value, path, allowed)
    if not isinstance(number, int):
        raise InvalidSettingError.of(path, value, allowed)
    return number


def _optional(
    read: Callable[[object, str, str], float],
    given: Mapping[str, Any],
    name: str,
    path: str,
    allowed: str,
) -> Any:
    value = given.get(name)
    return None if value is None else read(value, f"{path}.{name}", allowed)


def _object(value: object, path: str, names: Sequence[str]) -> Mapping[str, Any]:
    allowed = f"an object with {', '.join(names)}"
    if not isinstance(value, Mapping):
        raise InvalidSettingError.of(path, value, allowed)
    for name in value:
        if name not in names:
            allowed = f"one of the names {', '.join(names)}"
            raise InvalidSettingError.of(f"{path}.{name}", value[name], allowed)
    return value


def _from_text(text: str, path: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidSettingError.of(path, text, "JSON text, an object or a number") from None


def _spark_parameters(value: object, path: str) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        pairs = [(name, item, f"{path}.{name}") for name, item in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        rows = [(f"{path}[{n}]", _pair_of(row, f"{path}[{n}]")) for n, row in enumerate(value)]
        checked = [(where, _object(row, where, ("key", "value"))) for where, row in rows]
        pairs = [(row.get("key"), row.get("value"), where) for where, row in checked]
    else:
        allowed = 'a list of {"key", "value"} or "name=value", or an object of Spark parameters'
        raise InvalidSettingError.of(path, value, allowed)
    found: dict[str, str] = {}
    for name, item, where in pairs:
        if not isinstance(name, str) or not name.strip() or not _is_sendable(name):
            raise InvalidSettingError.of(where, name, "the name of a Spark parameter as the key")
        if name in found:
            raise InvalidSettingError.of(where, name, "each key once")
        found[name] = _spark_value(item, where)
    return found


def _pair_of(row: object, path: str) -> object:
    """Read ``name=value``, as ``spark-submit --conf`` takes it."""
    if not isinstance(row, str):
        return row
    name, equals, value = row.partition("=")
    if not equals:
        raise InvalidSettingError.of(path, row, "name=value")
    return {"key": name.strip(), "value": value.strip()}


def _spark_value(value: object, path: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) or (isinstance(value, str) and _is_sendable(value)):
        return str(value)
    raise InvalidSettingError.of(path, value, "a text, a number, true or false")


def _is_sendable(text: str) -> bool:
    """Whether it is text that UTF-8 can write: JSON's escapes can make half a character."""
    return text.encode(errors="replace").decode() == text
