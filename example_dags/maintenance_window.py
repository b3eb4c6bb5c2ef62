"""
Stop all pipelines of an organization for a maintenance window, and start them again afterwards.

Started are those that ran before, in the order of the list below; one that fails does not hold up
the others. Which these are is kept in an Airflow Variable until all of them run again, so that a
run that is interrupted, cleared or repeated forgets none. A running pipeline that is not in the
list fails the run before anything is stopped. (The platform's own pipelines are not touched.) What
arrives while a pipeline is stopped is not processed.

To repeat the maintenance, clear the whole run: cleared alone it fails, since everything runs again.
"""

from datetime import timedelta

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.sdk import DAG, Variable, task

from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.operators.streaming import StartPipelineOperator, StopPipelineOperator

ORG_ID = "o16017683199242"

# What to start, in this order: what others read from comes first.
PIPELINES = [
    {"pipeline_id": "0c6c5fe7-6b77-511c-a1ca-2e5f63e181f3", "execution_mode": "standalone"},
    {
        "pipeline_id": "e87e00af-9a30-5cda-88be-0cbde518ef0f",
        "execution_mode": "standalone",
        "kafka_rate": 2000,
    },
    {
        "pipeline_id": "7a12393b-63be-5a99-8582-92cf9cf2db41",
        "execution_mode": "cluster",
        "resource_config": {"server": 1, "yarn": {"workerCount": 1, "master": 1, "slave": 1}},
    },
]
NOTE = f"enos_pipelines_before_maintenance_{ORG_ID}"


def statuses():
    listed = EnOSStreamingHook(org_id=ORG_ID).list_pipelines()
    return {one["pipeline_id"]: PipelineStatus(one["status"]) for one in listed}


with DAG(
    "maintenance_window",
    schedule=None,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    doc_md=__doc__,
):

    @task(retries=120)  # ten minutes
    def note_what_runs():
        noted = Variable.get(NOTE, default=[], deserialize_json=True)
        seen = statuses()
        if changing := [one for one, status in seen.items() if status.is_in_transition]:
            raise AirflowException(f"just starting or stopping, to be seen again: {changing}")
        to_stop = {*noted, *(one for one, status in seen.items() if status.is_running)}
        if unknown := to_stop - {one["pipeline_id"] for one in PIPELINES}:
            raise AirflowFailException(
                f"not in the list of this DAG, but running (or in Variable {NOTE}): {unknown}"
            )
        to_start = [one for one in PIPELINES if one["pipeline_id"] in to_stop]
        Variable.set(NOTE, [one["pipeline_id"] for one in to_start], serialize_json=True)
        return to_start

    before = note_what_runs()

    stop = StopPipelineOperator.partial(
        task_id="stop", org_id=ORG_ID, map_index_template="{{ task.pipeline_id }}"
    ).expand_kwargs(before.map(lambda one: {"pipeline_id": one["pipeline_id"]}))

    @task(trigger_rule="none_failed")
    def maintain():
        if running := [one for one, status in statuses().items() if status.may_run]:
            raise AirflowFailException(f"running, or about to, so clear the whole run: {running}")
        print("No pipeline of the organization is running.")

    # One after the other, since the order matters; after a failed maintenance as well.
    start = StartPipelineOperator.partial(
        task_id="start",
        org_id=ORG_ID,
        max_active_tis_per_dagrun=1,
        trigger_rule="all_done",
        map_index_template="{{ task.pipeline_id }}",
    ).expand_kwargs(before)

    @task(trigger_rule="none_failed")
    def forget():
        Variable.delete(NOTE)

    @task(trigger_rule="one_failed", retries=0)
    def tell_of_failure():
        raise AirflowFailException("The maintenance failed; what had run before was started again.")

    maintenance = maintain()
    stop >> maintenance >> start >> forget()
    [stop, maintenance] >> tell_of_failure()
