"""A write that may have been carried out is never sent twice."""

import time

import pytest

from airflow_provider_enos.api import calls, change, errors, flows
from airflow_provider_enos.emulator import faults as f
from tests.contract.trouble.made import ORG, WRITES, arrived, check_error
from tests.contract.troubles import TROUBLES


@pytest.mark.parametrize("operation", WRITES)
def test_write_that_may_have_worked_is_not_sent_again(
    emulator, run, trouble, order, pipeline_id, operation
):
    made = WRITES[operation]
    order(operation, made)
    call = flows.ask(made.build(pipeline_id))
    is_good = trouble.heals and not trouble.may_be_done

    if is_good:
        assert isinstance(run(call), made.returns)
    else:
        with pytest.raises(errors.EnOSError) as raised:
            run(call)
        check_error(raised.value, trouble, made.purpose, pipeline_id)

    sent = arrived(emulator, operation, 2 if is_good else 1)
    assert len(sent) == (2 if is_good else 1)
    assert [one.effective for one in sent].count(True) == (is_good or trouble.is_done)


@pytest.mark.parametrize("trouble", [it for it in TROUBLES if it != "token revoked"], indirect=True)
def test_trouble_with_the_token_is_none_of_the_request(emulator, run, trouble, pipeline_id):
    """The request itself was never sent: it is sent after the trouble, a write too."""
    emulator.set_status(pipeline_id, "RUNNING")
    emulator.faults.append(trouble.on("token_get"))
    call = flows.ask(calls.stop_pipeline(ORG, pipeline_id))

    # What a new token helps against is no token at all here.
    if trouble.heals and trouble.error:
        run(call)
    else:
        with pytest.raises(errors.EnOSError) as raised:
            run(call)
        assert not raised.value.ambiguous
        assert "\n" not in str(raised.value)

    works = trouble.heals and trouble.error is not None
    assert emulator.status_of(pipeline_id) == ("STOPPED" if works else "RUNNING")
    assert len(emulator.requests_for("stop")) == works


@pytest.mark.parametrize("fault", [f.LoseAnswer(on="stop"), f.DropRequest(on="stop")])
def test_stop_with_a_wait_survives_a_lost_answer(emulator, run, pipeline_id, fault):
    emulator.set_status(pipeline_id, "RUNNING")
    emulator.faults.append(fault)

    status = run(
        change.stop_pipeline(
            ORG,
            pipeline_id,
            deadline=time.time() + 10,
            limit="ten seconds",
            poll_interval_seconds=0.1,
        )
    )

    assert status == "STOPPED"
    assert [request.effective for request in emulator.requests_for("stop")].count(True) == 1
