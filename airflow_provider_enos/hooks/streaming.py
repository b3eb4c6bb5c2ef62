"""The hook: an Airflow connection of type ``enos``, and one method for each call of EnOS."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.connection import (
    get_async_connection,
    get_async_extra_dejson,
)
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_enos.api import calls, flows, looks, transport
from airflow_provider_enos.api.errors import EnOSError, InvalidSettingError, excerpt
from airflow_provider_enos.api.messages import Call
from airflow_provider_enos.api.queue import StartQueue
from airflow_provider_enos.api.settings import (
    EnOSSettings,
    misspelt_fields,
    require_json_object,
)
from airflow_provider_enos.api.sharing import SharedResults, results_for, shared
from airflow_provider_enos.api.start_settings import DEFAULT_KAFKA_RATE, StartSettings, parse_id
from airflow_provider_enos.api.tokens import TokenCache, cache_for, signed
from airflow_provider_enos.hooks.host_turn import queue_for
from airflow_provider_enos.telemetry import wait_span

if TYPE_CHECKING:
    import requests

    from airflow_provider_enos.hooks.kill_switch import KillSwitch
    from airflow_provider_enos.hooks.requests_io import RequestsIO

T = TypeVar("T")

#: A connection test asks EnOS three things and must answer within ten seconds.
TEST_REQUEST_TIMEOUT_SECONDS = 3.0


class EnOSStreamingHook(BaseHook):
    """
    Talk to the EnOS Stream Processing API.

    Constructing the hook costs nothing: the connection is read, and the network touched, on the
    first call. Each method makes one call of the API, signed. Trouble that passes (no connection,
    HTTP 429 and 5xx) is waited out for some 20 seconds where repeating the call does no harm; all
    other errors are raised as subclasses of :class:`~airflow_provider_enos.api.errors.EnOSError`.

    The methods return plain JSON values (text, numbers, dicts, lists), so a ``@task`` may return
    them, and the next task gets them as they are: no entry in Airflow's
    ``allowed_deserialization_classes`` is needed.

    In a trigger, ``await hook.load()`` first, then ``await hook.run_async(flow)`` with one of the
    flows in :mod:`airflow_provider_enos.api.flows`, e.g. ``ask(calls.stop_pipeline(...))``.

    :param enos_conn_id: Airflow connection of type ``enos``.
    :param org_id: Organization ID; by default the connection's.
    :param kill_switch: Ends a call, and forbids the next one, when the task is killed.
    """

    conn_name_attr = "enos_conn_id"
    default_conn_name = "enos_default"
    conn_type = "enos"
    hook_name = "EnOS"

    def __init__(
        self,
        enos_conn_id: str = default_conn_name,
        *,
        org_id: str | None = None,
        kill_switch: KillSwitch | None = None,
    ) -> None:
        super().__init__()
        self.enos_conn_id = enos_conn_id
        self._org_id = org_id
        self._kill_switch = kill_switch
        self._token_cache: TokenCache | None = None
        self._results: SharedResults | None = None
        self._is_apart = False

    # ------------------------------------------------------------------ connection

    @cached_property
    def settings(self) -> EnOSSettings:
        """
        The connection's fields, checked.

        :raises InvalidSettingError: names the field that is wrong, or there is no connection.
        """
        try:
            connection = self.get_connection(self.enos_conn_id)
        except AirflowNotFoundException as error:
            raise self._not_found(error) from error
        require_json_object(self.enos_conn_id, connection.extra)
        return self._settings_of(connection, connection.extra_dejson)

    async def load(self) -> None:
        """
        Read the connection without blocking the event loop; afterwards :attr:`settings` is there.

        :raises InvalidSettingError: names the field that is wrong, or there is no connection.
        """
        try:
            connection = await get_async_connection(self.enos_conn_id)
        except AirflowNotFoundException as error:
            raise self._not_found(error) from error
        require_json_object(self.enos_conn_id, connection.extra)
        extra = await get_async_extra_dejson(connection)
        self.__dict__["settings"] = self._settings_of(connection, extra)

    @classmethod
    async def loaded(cls, enos_conn_id: str, *, org_id: str | None) -> EnOSStreamingHook:
        """
        Return a hook whose connection has been read, for a trigger.

        :raises EnOSError: it cannot be read, for whatever reason.
        """
        hook = cls(enos_conn_id, org_id=org_id)
        try:
            await hook.load()
        except EnOSError:
            raise
        except Exception as error:  # of Airflow, which may be starting; its text may hold a secret
            raise EnOSError(
                f"Airflow connection {enos_conn_id!r} cannot be read ({type(error).__name__})."
            ) from None
        return hook

    @cached_property
    def org_id(self) -> str:
        """
        The organization of all calls.

        :raises InvalidSettingError: neither the hook nor the connection names one.
        """
        org_id = self._org_id or self.settings.org_id
        if not org_id:
            raise InvalidSettingError(
                f"org_id: none is given, neither here nor in 'org_id' of Airflow connection "
                f"{self.enos_conn_id!r}; allowed is the organization ID (EnOS console, IAM > "
                "Organization Profile)"
            )
        return parse_id(org_id, "org_id")

    @property
    def start_queue(self) -> StartQueue:
        """The queue of this process for the starts of the organization."""
        return queue_for(self.settings.gateway_url, self.org_id)

    def console_link(self, pipeline_id: str) -> str:
        """Return the address of a pipeline in the EnOS console; ``""`` without ``console_url``."""
        return self.settings.console_link(pipeline_id=pipeline_id, org_id=self.org_id)

    def get_conn(self) -> requests.Session:
        """
        Return the session that the calls use: TLS, proxy and pool as the connection says.

        It does not sign. For calls of EnOS use the methods of this hook.
        """
        return self._io.session

    def test_connection(self) -> tuple[bool, str]:
        """Ask EnOS for a token and the pipelines; say in one line what is wrong, or how many."""
        try:
            hook = self.apart(TEST_REQUEST_TIMEOUT_SECONDS)  # the keys are what is tested
            released, designed = hook.run(_count_pipelines(hook.org_id))
        except EnOSError as error:
            return False, str(error)
        return True, (
            f"EnOS knows these keys. Organization {hook.org_id} has {released} released "
            f"pipelines and {designed} that are not released."
        )

    def apart(self, request_timeout_seconds: float) -> EnOSStreamingHook:
        """
        Return a hook with the same settings that shares nothing with this one: own tokens, own
        session, own limit for an answer (unless the connection's is shorter), no kill switch, no
        metrics.
        """
        hook = EnOSStreamingHook(self.enos_conn_id, org_id=self.org_id)
        hook._token_cache, hook._results = TokenCache(), SharedResults()
        hook._is_apart = True
        limit = min(request_timeout_seconds, self.settings.request_timeout_seconds)
        hook.__dict__["settings"] = replace(self.settings, request_timeout_seconds=limit)
        return hook

    # ------------------------------------------------------------------ drivers

    def run(self, flow: transport.Flow[T]) -> T:
        """Carry out a flow, blocking."""
        with self._span(flow):
            return transport.run(self._signed(flow), self._io)

    async def run_async(self, flow: transport.Flow[T]) -> T:
        """Carry out a flow on the running event loop; needs :meth:`load` first."""
        # Importing aiohttp takes a quarter of a second, too long for an event loop.
        module = await asyncio.to_thread(
            importlib.import_module, "airflow_provider_enos.hooks.aiohttp_io"
        )
        async with module.AiohttpIO(self.settings, self.log.info) as io:
            with self._span(flow):
                return await transport.run_async(self._signed(flow), io)

    # ------------------------------------------------------------------ reading

    def list_pipelines(
        self, *, is_system: bool = False, if_released: bool = True
    ) -> list[dict[str, Any]]:
        """
        Return all pipelines of one kind, each as :meth:`get_pipeline` does.

        :param is_system: The platform's own pipelines instead of the users'.
        :param if_released: Released pipelines; only they have a status.
        """
        found = self.run(
            flows.list_pipelines(self.org_id, is_system=is_system, if_released=if_released)
        )
        return [pipeline.to_payload() for pipeline in found.values()]

    def get_pipeline(self, pipeline_id: str) -> dict[str, Any]:
        """
        Return a released pipeline with its status.

        The keys are the fields of :class:`~airflow_provider_enos.api.pipeline.Pipeline`:
        ``pipeline_id``, ``status``, ``name`` ... What a status means is asked with
        ``PipelineStatus(pipeline["status"]).is_running`` of the same module.

        :raises PipelineNotFoundError: the organization has no such pipeline, or it is not released.
        """
        pipeline_id = parse_id(pipeline_id, "pipeline_id")
        return self.run(looks.find_pipeline(self.org_id, pipeline_id)).pipeline.to_payload()

    def get_pipeline_details(
        self, pipeline_id: str, *, if_released: bool = False
    ) -> dict[str, Any]:
        """
        Return a pipeline's design.

        The keys are the fields of :class:`~airflow_provider_enos.api.pipeline.PipelineDetails`.

        :param if_released: The online version instead of the one that is being designed.
        :raises PipelineNotFoundError: the organization has no such pipeline.
        """
        return self._ask(
            calls.get_pipeline_details(self.org_id, pipeline_id, if_released=if_released)
        ).to_payload()

    def get_pipeline_offset_lag(self, pipeline_id: str) -> dict[str, Any]:
        """
        Return the Kafka offset and lag of a running pipeline.

        The keys are ``pipeline_id``, ``topic_name``, ``points`` and ``newest``, the latest of the
        points (``lag``, ``offset``, ``timestamp_ms``) that tells a lag.

        :raises PipelineNotFoundError: the organization has no such pipeline.
        """
        return self._ask(calls.get_pipeline_offset_lag(self.org_id, pipeline_id)).to_payload()

    def get_stage_state(
        self,
        pipeline_id: str,
        *,
        stage_instance_name: str,
        asset_ids: Sequence[str],
        point_ids: Sequence[str],
    ) -> list[dict[str, Any]]:
        """
        Return what an operator of the pipeline remembers of these points, as EnOS sends it.

        :param stage_instance_name: E.g. ``LatePointTagger_01``.
        :raises AccessDeniedError: wrong pipeline, or no privilege (61106).
        :raises InvalidRequestError: too many points, or a stage that keeps no state.
        """
        items = self._ask(
            calls.get_stage_state(
                self.org_id,
                pipeline_id,
                stage_instance_name=stage_instance_name,
                asset_ids=asset_ids,
                point_ids=point_ids,
            )
        )
        return [dict(item) for item in items]

    # ------------------------------------------------------------------ writing

    def start_pipeline(
        self,
        pipeline_id: str,
        *,
        execution_mode: object,
        kafka_rate: object = DEFAULT_KAFKA_RATE,
        resource_config: object = None,
    ) -> None:
        """
        Ask EnOS to start a pipeline, once; it returns when EnOS has accepted.

        To wait for its turn and for RUNNING, use ``StartPipelineOperator``.

        :param execution_mode: ``"standalone"``, ``"cluster"``, 0 or 1.
        :param kafka_rate: Records per second read from Kafka.
        :param resource_config: See ``StartPipelineOperator``.
        :raises InvalidSettingError: an argument is wrong; nothing was sent.
        :raises StartInProgressError: another start of the organization is under way (61121).
        :raises PipelineStateError: the status forbids a start, e.g. it is running (61165).
        :raises ResourceNotRequestedError, ResourceNotEnoughError: 61128, 61126.
        """
        settings = StartSettings.parse(
            pipeline_id=pipeline_id,
            execution_mode=execution_mode,
            kafka_rate=kafka_rate,
            resource_config=resource_config,
        )
        self._ask(calls.start_pipeline(self.org_id, settings))

    def stop_pipeline(self, pipeline_id: str) -> None:
        """
        Ask EnOS to stop a pipeline; EnOS forgets its consumption offset.

        :raises PipelineStateError: it is neither running nor paused (61152).
        """
        self._ask(calls.stop_pipeline(self.org_id, pipeline_id))

    def pause_pipeline(self, pipeline_id: str) -> None:
        """
        Ask EnOS to pause a pipeline, for 24 hours at most.

        :raises PipelineStateError: it is not running (61152).
        """
        self._ask(calls.pause_pipeline(self.org_id, pipeline_id))

    def release_pipeline(self, pipeline_id: str) -> None:
        """
        Put a pipeline's design online.

        :raises PipelineStateError: it is running (61169).
        """
        self._ask(calls.release_pipeline(self.org_id, pipeline_id))

    def save_pipeline(self, pipeline_id: str | None, configuration: Mapping[str, Any]) -> str:
        """
        Save a pipeline's design and return its ID.

        :param pipeline_id: ``None`` creates a new pipeline.
        :param configuration: Fields as documented: ``name``, ``version``, ``templateType`` ...
        :raises InvalidPipelineConfigError: EnOS does not accept the configuration (61100).
        """
        return self._ask(calls.save_pipeline(self.org_id, pipeline_id, configuration))

    def reset_pipeline_offset(self, pipeline_id: str) -> None:
        """
        Skip what is waiting in Kafka; the pipeline must be paused or stopped.

        :raises PipelineNotFoundError: the organization has no such pipeline.
        """
        self._ask(calls.reset_pipeline_offset(self.org_id, pipeline_id))

    def delete_stage_state(
        self,
        pipeline_id: str,
        *,
        stage_instance_name: str,
        asset_ids: Sequence[str],
        point_ids: Sequence[str],
    ) -> bool:
        """Let an operator of a paused pipeline forget these points; see :meth:`get_stage_state`."""
        return self._ask(
            calls.delete_stage_state(
                self.org_id,
                pipeline_id,
                stage_instance_name=stage_instance_name,
                asset_ids=asset_ids,
                point_ids=point_ids,
            )
        )

    # ------------------------------------------------------------------ inside

    def _ask(self, call: Call[T]) -> T:
        return self.run(flows.ask(call))

    def _span(self, flow: transport.Flow[Any]) -> AbstractContextManager[Any]:
        if self._is_apart:
            return nullcontext()
        return wait_span(flow, self._org_id or self.settings.org_id)

    def _signed(self, flow: transport.Flow[T]) -> transport.Flow[T]:
        flow = shared(flow, self._results or results_for(self.settings))
        return signed(flow, self.settings, self._token_cache or cache_for(self.settings))

    @cached_property
    def _io(self) -> RequestsIO:
        from airflow_provider_enos.hooks.requests_io import RequestsIO  # noqa: PLC0415 - parse cost

        # Metrics and traces may have locks, which a signal handler must not wait for.
        return RequestsIO(
            self.settings, self.log.info, self._kill_switch, is_observed=not self._is_apart
        )

    def _not_found(self, error: AirflowNotFoundException) -> InvalidSettingError:
        # Airflow says the same of a connection that it cannot read.
        return InvalidSettingError(
            f"{error}, or Airflow cannot read it: is its port a number, its extra a JSON object?"
        )

    def _settings_of(self, connection: Any, extra: Mapping[str, Any]) -> EnOSSettings:
        if misspelt := misspelt_fields(extra):
            self.log.warning(
                "Airflow connection %r, extra: %s.",
                self.enos_conn_id,
                ", ".join(
                    f"{excerpt(k, 50)!r} has no effect, use {v!r}" for k, v in misspelt.items()
                ),
            )
        return EnOSSettings.from_connection(
            self.enos_conn_id,
            host=connection.host,
            port=connection.port,
            login=connection.login,
            password=connection.password,
            schema=connection.schema,
            extra=extra,
        )


def _count_pipelines(org_id: str) -> transport.Flow[tuple[int, int]]:
    at_once = flows.Patience(0)
    released = yield from flows.list_pipelines(org_id, patience=at_once)
    designed = yield from flows.list_pipelines(org_id, if_released=False, patience=at_once)
    return len(released), len(designed)
