"""Start a pipeline; the task is green when it is running."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    conf,
)
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError
from airflow.triggers.base import StartTriggerArgs

from airflow_provider_enos.api import calls, change, looks
from airflow_provider_enos.api.errors import EnOSError, InvalidSettingError, TaskKilledError
from airflow_provider_enos.api.start import undo, until_accepted, until_running
from airflow_provider_enos.api.start_settings import (
    DEFAULT_KAFKA_RATE,
    ExecutionMode,
    ResourceConfig,
    StartSettings,
    parse_id,
    parse_kafka_rate,
)
from airflow_provider_enos.api.start_values import Outcome, StartProgress, StartResult, StartTerms
from airflow_provider_enos.arguments import choice, flag, has_template, is_lazy, seconds
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.memory import TryMemory, key_of
from airflow_provider_enos.operators.pipeline import DEFERRAL_SLACK, PipelineOperator
from airflow_provider_enos.telemetry import count_task

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

#: What on_kill in a worker may take: Airflow sends SIGKILL five seconds after SIGTERM.
KILL_SECONDS = 4.0
KILL_POLL_SECONDS = 0.5

RESOURCE_FILE = ".json"

IF_RUNNING = ("succeed", "fail", "skip", "restart")
ON_KILL = ("leave", "stop")


class StartPipelineOperator(PipelineOperator):
    """
    Start an EnOS pipeline; the task succeeds when the pipeline is running.

    EnOS allows one start at a time in an organization and refuses others (61121). The task waits
    for its turn inside one try. A pipeline is a service: the task ends while the pipeline goes on,
    and killing the task leaves it alone unless ``on_kill="stop"``.

    It may be retried, cleared, mapped and backfilled: EnOS refuses to start a running pipeline, and
    with ``if_running="succeed"`` that is a success.

    Errors that only a person can mend (61100, 61108, 61128, 61165, wrong keys) fail the task at
    once. All others leave it to ``retries``; see ``EnOSRetryPolicy``.

    Returns (XCom) ``pipeline_id``, ``org_id``, ``outcome`` (``started``, ``already_running``, or
    ``adopted``: this attempt or an earlier one may have started it, before its answer or
    its process was lost), ``status``, ``attempts``, ``conflicts`` (refusals with 61121) and
    ``waited_seconds``.

    :param pipeline_id: As shown under Stream Processing > Pipeline Operation. Templated.
    :param execution_mode: ``"standalone"`` (0) or ``"cluster"`` (1). Templated.
    :param kafka_rate: Records per second read from Kafka. Templated.
    :param resource_config: ``{"server": 1}`` in CU; in cluster mode also ``"yarn"``
        (``workerCount``, ``master``, ``slave``) and ``"advanced"`` (Spark parameters, as a mapping,
        a list of ``name=value`` or EnOS's list of ``{"key", "value"}``). As dict, JSON text or
        ``ResourceConfig``; in standalone mode a bare number of CU will do. Templated, also inside.
        A text that ends in ``.json`` names a file beside the DAG or in its ``template_searchpath``.
    :param org_id: Organization; by default the connection's. Templated.
    :param enos_conn_id: Airflow connection of type ``enos``. Templated.
    :param if_running: What to do when the pipeline is running, and this task has not started it:
        ``"succeed"``, ``"fail"``, ``"skip"``, or ``"restart"`` it with these settings (not in the
        runs of a backfill, where that is ``"succeed"``). Templated.
    :param wait_for_running: Whether to wait for RUNNING after EnOS has accepted the start; if not,
        ``status`` of the result is ``None``.
    :param conflict_timeout: How long other starts of the organization (61121) and outages are
        waited out; ``timedelta`` or seconds, 366 days at most. An outage ends the try after five
        minutes.
    :param start_timeout: How long EnOS may take from accepted to RUNNING; ``timedelta`` or seconds,
        366 days at most.
    :param poll_interval_seconds: Pause between two looks at the status.
    :param on_kill: ``"leave"``, or ``"stop"`` the pipeline when the task is killed or ended by a
        person while it waits, if this try has started it. EnOS does not stop a pipeline that is
        still starting: the triggerer tries for a minute, a worker has only four seconds.
    :param deferrable: Wait in the triggerer, without holding a worker.
    :param start_from_trigger: Begin in the triggerer, without any worker before the pipeline runs.
        Values from other tasks cannot be used then, nor params without a default, nor any
        ``if_running`` but ``"succeed"``. A mapped task is deferred from a worker all the same.
    :raises InvalidSettingError: an argument is wrong; when the DAG is parsed, unless templated.

    Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/start_pipeline
    """

    template_fields: Sequence[str] = (
        "pipeline_id",
        "execution_mode",
        "kafka_rate",
        "resource_config",
        "org_id",
        "enos_conn_id",
        "if_running",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"resource_config": "json"}
    ui_color = "#d7efe0"
    verb = "start"
    doing = "starting"
    result_type = StartResult

    def __init__(
        self,
        *,
        pipeline_id: str,
        execution_mode: ExecutionMode | int | str,
        kafka_rate: int | str = DEFAULT_KAFKA_RATE,
        resource_config: Mapping[str, Any] | ResourceConfig | float | str | None = None,
        org_id: str | None = None,
        enos_conn_id: str = EnOSStreamingHook.default_conn_name,
        if_running: str = "succeed",
        wait_for_running: bool = True,
        conflict_timeout: timedelta | float = timedelta(minutes=30),
        start_timeout: timedelta | float = timedelta(minutes=10),
        poll_interval_seconds: float = 5.0,
        on_kill: str = "leave",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pipeline_id=pipeline_id, org_id=org_id, enos_conn_id=enos_conn_id, **kwargs
        )
        self.execution_mode = execution_mode
        self.kafka_rate = kafka_rate
        self.resource_config = resource_config
        self.if_running = if_running
        self.wait_for_running = flag(wait_for_running, "wait_for_running")
        self.conflict_timeout_seconds = seconds(conflict_timeout, "conflict_timeout", least=0)
        self.start_timeout_seconds = seconds(start_timeout, "start_timeout", least=0)
        self.poll_interval_seconds = seconds(
            poll_interval_seconds, "poll_interval_seconds", least=0.1
        )
        self.stop_on_kill = choice(on_kill, ON_KILL, "on_kill") == "stop"
        start_from_trigger = flag(start_from_trigger, "start_from_trigger")
        self.deferrable = flag(deferrable, "deferrable") or start_from_trigger
        self._check_what_is_known()
        if start_from_trigger:
            self._start_from_trigger()
        self._progress = StartProgress()
        self._hook_for_kill: EnOSStreamingHook | None = None

    # ------------------------------------------------------------------ Airflow's calls

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the pipeline, or hand the start to the triggerer."""
        settings = self._guarded(self._start_settings)
        if_running = self._guarded(lambda: self._if_running(context))
        self._guarded(lambda: self.hook.org_id)
        self._hook_for_kill = self._guarded(lambda: self.hook.apart(KILL_SECONDS))
        self._push_console_link(context)
        memory, subject = TryMemory(context, self.verb), (settings.pipeline_id, self.hook.org_id)
        earlier_try = memory.has(*subject)
        try:
            if if_running != "succeed" and not earlier_try:
                self._meet_running(if_running)
                if self.deferrable:  # the worker that would note it later may never come
                    memory.note(*subject)
            if self.deferrable:
                self._defer(context, settings, earlier_try)
            note = partial(self._remember, context)
            progress = self._progress = StartProgress(
                ambiguous=earlier_try, note=note, is_noted=earlier_try
            )
            terms = self._terms(self._deadline(context))
            result = self.hook.run(
                until_accepted(self.hook.org_id, settings, terms, progress, self.hook.start_queue)
            )
            result = self.hook.run(until_running(result, terms, progress))
            self._settle()
        except TaskKilledError:
            # The kill came while a request was under way; its answer may have been "accepted".
            self._stop_if_ours()
            raise
        except EnOSError as error:
            progress = self._progress
            self._fail(
                context,
                error,
                may_have_worked=progress.may_have_started,
                conflicts=progress.conflicts,
            )
        return self._conclude(context, result)

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """
        Render a template; ``resource_config`` may be the name of a file that holds it.

        Airflow's own ``template_ext`` would also open what only ends like a file: an ID, or the
        value of a Spark parameter.
        """
        if content is self.resource_config and _is_file(content):
            content = _text_of_file(content, jinja_env or self.get_template_env())
        return super().render_template(content, context, jinja_env, seen_oids)

    def on_kill(self) -> None:
        """End the wait; stop the pipeline if this try has started it and ``on_kill="stop"``."""
        self._kill_switch.pull()
        self._stop_if_ours()

    def dry_run(self) -> None:
        """Log the request that would be sent, without its signature; send nothing."""
        settings = self._start_settings()
        request = calls.start_pipeline(self.hook.org_id, settings).request
        body = json.dumps(settings.to_json(), indent=2)
        self.log.info(
            "Dry run, nothing is sent:\n%s %s%s\nContent-Type: %s\napim-accesstoken: ***\n"
            "apim-signature: ***\napim-timestamp: ***\n\n%s",
            request.method,
            self.hook.settings.gateway_url,
            request.target,
            request.headers["Content-Type"],
            body,
        )

    # ------------------------------------------------------------------ steps

    def _if_running(self, context: Context) -> str:
        """Return ``if_running``; a backfill of a month must not restart a pipeline thirty times."""
        if_running = choice(self.if_running, IF_RUNNING, "if_running")
        is_backfill = getattr(context.get("dag_run"), "run_type", None) == "backfill"
        if if_running == "restart" and is_backfill:
            self.log.info("A backfill restarts nothing: if_running='restart' is 'succeed' here.")
            return "succeed"
        return if_running

    def _meet_running(self, if_running: str) -> None:
        """Do what ``if_running`` says if the pipeline is running."""
        pipeline_id, org_id = parse_id(self.pipeline_id, "pipeline_id"), self.hook.org_id
        limits: dict[str, Any] = {
            "deadline": time.time() + self.start_timeout_seconds,
            "limit": "start_timeout",
            "poll_interval_seconds": self.poll_interval_seconds,
        }
        look = self.hook.run(looks.settled_status(org_id, pipeline_id, **limits))
        if not look.status.is_running:
            return
        text = f"Pipeline {pipeline_id} of organization {org_id} is already RUNNING"
        if if_running != "restart":
            count_task(self.verb, Outcome.ALREADY_RUNNING, org_id)
        if if_running == "skip":
            raise AirflowSkipException(f"{text} (if_running='skip').")
        if if_running == "fail":
            raise AirflowFailException(f"{text} (if_running='fail').")
        self.log.info("%s: stopping it first (if_running='restart').", text)
        self.hook.run(change.stop_pipeline(org_id, pipeline_id, **limits))

    def _defer(self, context: Context, settings: StartSettings, earlier_try: bool) -> None:
        from airflow_provider_enos.triggers.streaming import (  # noqa: PLC0415 - parse cost
            StartPipelineTrigger,
        )

        self.defer(
            trigger=StartPipelineTrigger(
                pipeline_id=settings.pipeline_id,
                execution_mode=int(settings.execution_mode),
                kafka_rate=settings.kafka_rate,
                resource_config=settings.resource_config.to_json(),
                org_id=self.hook.org_id,
                enos_conn_id=self.enos_conn_id,
                begun_at=time.time(),
                deadline=self._deadline(context),
                earlier_try=earlier_try,
                **self._trigger_options(),
            ),
            method_name="execute_complete",
            timeout=self._deferral_timeout,
        )

    def _conclude(self, context: Context, result: StartResult) -> dict[str, Any]:
        if result.outcome is Outcome.ALREADY_RUNNING and self._if_running(context) != "succeed":
            self.log.info("Somebody has started it meanwhile: if_running applies again.")
            self._remember(context, may_have_worked=False)
            return self.execute(context)
        self.log.info(
            "Pipeline %s of organization %s %s%s, %.1f s after the task began to start it "
            "(start requests: %d, refused because of other starts: %d).",
            result.pipeline_id,
            result.org_id,
            {
                Outcome.STARTED: "was started",
                Outcome.ALREADY_RUNNING: "was running already",
                Outcome.ADOPTED: "was started by this task (an answer or a process was lost)",
            }[result.outcome],
            f" and is {result.status}" if result.status else "",
            result.waited_seconds,
            result.attempts,
            result.conflicts,
        )
        payload = result.to_payload()
        self._tell(context, payload, is_news=result.outcome is not Outcome.ALREADY_RUNNING)
        return payload

    def _leave_to_next_try(self, context: Context, may_have_worked: bool) -> None:
        super()._leave_to_next_try(context, may_have_worked)
        ti = context["ti"]
        if self.start_from_trigger and may_have_worked and ti.try_number <= ti.max_tries:
            # The next try begins in the triggerer as well, which reads only XComs.
            note = {"try_number": ti.try_number + 1, "may_have_worked": True}
            ti.xcom_push(key=key_of(self.verb), value=note)

    def _settle(self) -> None:
        """Keep what was started: a kill from now on comes too late, one before it counts."""
        started_at, self._progress.accepted_at = self._progress.accepted_at, None
        try:
            self._kill_switch.check()
        except TaskKilledError:
            self._progress.accepted_at = started_at
            raise

    def _stop_if_ours(self) -> None:
        """Stop the pipeline, once, if this try has started it."""
        started_at, self._progress.accepted_at = self._progress.accepted_at, None
        if started_at is None or not self.stop_on_kill:
            return
        # A signal handler must not wait for what it interrupted: no shared token, no Airflow call.
        hook = self._hook_for_kill or self.hook.apart(KILL_SECONDS)
        hook.run(
            undo(
                hook.org_id,
                parse_id(self.pipeline_id, "pipeline_id"),
                started_at=started_at,
                seconds=KILL_SECONDS,
                poll_interval_seconds=KILL_POLL_SECONDS,
            )
        )

    # ------------------------------------------------------------------ arguments

    def _start_settings(self) -> StartSettings:
        return StartSettings.parse(
            pipeline_id=self.pipeline_id,
            execution_mode=self.execution_mode,
            kafka_rate=self.kafka_rate,
            resource_config=self.resource_config,
        )

    def _check_what_is_known(self) -> None:
        """Check, when the DAG is parsed, all that holds no template."""
        super()._check_what_is_known()
        mode: ExecutionMode | None = None
        if not has_template(self.execution_mode):
            mode = ExecutionMode.parse(self.execution_mode)
        if not has_template(self.kafka_rate):
            parse_kafka_rate(self.kafka_rate)
        if not (has_template(self.resource_config) or _is_file(self.resource_config)):
            ResourceConfig.parse(self.resource_config, mode=mode)
        if not has_template(self.if_running):
            choice(self.if_running, IF_RUNNING, "if_running")

    def _start_from_trigger(self) -> None:
        """Tell the scheduler to begin in the triggerer, after checking that this can work."""
        arguments = {
            name: getattr(self, name) for name in self.template_fields if name != "if_running"
        }
        if isinstance(self.resource_config, ResourceConfig):
            arguments["resource_config"] = self.resource_config.to_json()
        if isinstance(self.execution_mode, ExecutionMode):
            arguments["execution_mode"] = int(self.execution_mode)
        if _is_file(self.resource_config):
            allowed = "no file with start_from_trigger=True: the triggerer cannot read it"
            raise InvalidSettingError.of("resource_config", self.resource_config, allowed)
        for name, value in arguments.items():
            if is_lazy(value):
                raise InvalidSettingError.of(
                    name,
                    value,
                    "with start_from_trigger=True no value of another task: the triggerer cannot "
                    "read it (XComArg, or xcom_pull without map_indexes)",
                )
        params = ParamsDict(self.params)
        for name in params:
            try:
                params.get_param(name).resolve()
            except ParamValidationError as error:
                # Airflow 3.3 would end the whole triggerer, even when the run's conf has a value.
                raise InvalidSettingError(
                    f"params[{name!r}]: it has no valid default, allowed is one that has, with "
                    f"start_from_trigger=True ({error})"
                ) from error
        if self.if_running != "succeed":
            allowed = "'succeed' with start_from_trigger=True: the rest is decided on a worker"
            raise InvalidSettingError.of("if_running", self.if_running, allowed)
        self.start_from_trigger = True
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow_provider_enos.triggers.streaming.StartPipelineTrigger",
            trigger_kwargs={**arguments, **self._trigger_options()},
            next_method="execute_complete",
            timeout=self._deferral_timeout,
        )

    def _trigger_options(self) -> dict[str, Any]:
        return {
            "wait_for_running": self.wait_for_running,
            "conflict_timeout_seconds": self.conflict_timeout_seconds,
            "start_timeout_seconds": self.start_timeout_seconds,
            "poll_interval_seconds": self.poll_interval_seconds,
            "stop_on_kill": self.stop_on_kill,
        }

    @property
    def _deferral_timeout(self) -> timedelta:
        own = timedelta(seconds=self.conflict_timeout_seconds + self.start_timeout_seconds)
        return own + DEFERRAL_SLACK

    def _terms(self, deadline: float | None) -> StartTerms:
        return StartTerms(
            conflict_deadline=time.time() + self.conflict_timeout_seconds,
            start_timeout_seconds=self.start_timeout_seconds,
            poll_interval_seconds=self.poll_interval_seconds,
            deadline=deadline,
            wait_for_running=self.wait_for_running,
        )


def _is_file(resource_config: object) -> TypeGuard[str]:
    return isinstance(resource_config, str) and resource_config.strip().endswith(RESOURCE_FILE)


def _text_of_file(name: str, jinja_env: jinja2.Environment) -> str:
    """
    Read a file that lies beside the DAG or in its ``template_searchpath``.

    :raises AirflowFailException: there is none.
    """
    try:
        return jinja_env.loader.get_source(jinja_env, name.strip())[0]  # type: ignore[union-attr]
    except Exception as error:  # of the loader, or there is none
        allowed = "a file beside the DAG or in its template_searchpath"
        wrong = InvalidSettingError.of("resource_config", name, allowed)
        raise AirflowFailException(str(wrong)) from error
