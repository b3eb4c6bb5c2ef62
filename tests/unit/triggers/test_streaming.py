"""The triggers on their way through Airflow's database."""

import inspect

import pytest
from airflow.sdk.serde import deserialize, serialize

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.triggers.streaming import PipelineStatusTrigger, StartPipelineTrigger

TRIGGERS = [
    StartPipelineTrigger(
        pipeline_id="p-1",
        execution_mode=0,
        kafka_rate=1000,
        resource_config={"server": 1},
        org_id="o1",
        enos_conn_id="enos_default",
        wait_for_running=True,
        conflict_timeout_seconds=1800.0,
        start_timeout_seconds=600.0,
        poll_interval_seconds=5.0,
        begun_at=1.0,
        deadline=2.0,
        earlier_try=True,
        stop_on_kill=True,
    ),
    PipelineStatusTrigger(
        pipeline_id="p-1",
        target_statuses=["RUNNING"],
        org_id="o1",
        enos_conn_id="enos_default",
        failed_statuses=["STOPPED"],
        poll_interval_seconds=30.0,
        deadline=3.0,
        exponential_backoff=True,
        max_wait_seconds=60.0,
        silent_fail=True,
    ),
]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda t: type(t).__name__)
def test_trigger_survives_the_trip_to_the_triggerer(trigger):
    """Rebuilt from what Airflow stored, it stores the same again, with nothing left out."""
    path, arguments = trigger.serialize()

    restored = deserialize(serialize(arguments))

    assert path == f"{type(trigger).__module__}.{type(trigger).__qualname__}"
    assert set(arguments) == set(inspect.signature(type(trigger)).parameters)
    assert type(trigger)(**restored).serialize() == (path, arguments)
    assert restored == arguments


async def test_template_that_rendered_to_nothing_is_refused_before_anything_is_sent():
    """Else the pipeline would start without its resources."""
    trigger = StartPipelineTrigger(
        **TRIGGERS[0].serialize()[1] | {"resource_config": "{{ params.nothing }}"}
    )
    trigger.resource_config = ""

    with pytest.raises(InvalidSettingError, match="resource_config: the template"):
        await trigger._outcome()
