"""All calls: the tables are whole, and answers that are JSON, but not EnOS's."""

import pytest

from airflow_provider_enos.api import errors, flows
from airflow_provider_enos.emulator import faults as f
from tests.contract.trouble.made import READS, WRITES
from tests.contract.troubles import TROUBLES


def test_every_fault_and_every_operation_is_in_a_table():
    assert {type(row.fault).__name__ for row in TROUBLES.values()} == set(f.FAULTS)
    others = {"start", "token_get", "token_refresh", "unknown"}
    assert {*READS, *WRITES, *others} == f.OPERATIONS


STRANGE_DATA = [
    "null",
    "[]",
    "[1]",
    '"text"',
    "7",
    '{"pipelines":{}}',
    '{"pipelines":[7]}',
    '{"pipelines":[{}],"count":[]}',
    '{"pipelines":null,"count":null}',
    '{"pipelines":[{"pipelineId":["x"],"status":{},"resourceConfig":"{"}],"count":1e400}',
    '{"lagAndOffset":7,"items":7,"pipelineJson":7,"templateName":7,"pipelineId":7}',
    "[" * 5000 + "]" * 5000,
]


@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_strange_data_is_an_error_of_ours_or_read_as_nothing(emulator, run, pipeline_id, operation):
    """Any other exception would end a trigger without an event, hence the task without a reason."""
    made = {**READS, **WRITES}[operation]

    def outcomes():
        for data in STRANGE_DATA:
            body = f'{{"code":0,"data":{data}}}'
            emulator.faults.append(f.Garbage(body, "application/json", on=operation))
            try:
                value = yield from flows.once(made.build(pipeline_id))
            except errors.EnOSUnreadableAnswerError:
                continue
            assert isinstance(value, made.returns), f"{data[:60]}: {value!r}"

    run(outcomes())

    assert len(emulator.requests_for(operation)) == len(STRANGE_DATA)
