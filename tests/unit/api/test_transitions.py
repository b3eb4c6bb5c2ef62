"""Which change of a status is worth an event."""

import pytest

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.transitions import TransitionRule


@pytest.mark.parametrize(
    ("sources", "targets", "before", "after", "met"),
    [
        ("RUNNING", None, "RUNNING", "STOPPED", True),
        ("RUNNING", None, "RUNNING", "RUN_ERROR", True),
        ("running", None, "RUNNING", "FINISHED", True),
        ("RUNNING", None, "RUNNING", "RUNNING", False),
        ("RUNNING", None, "STOPPED", "RUNNING", False),
        ("RUNNING", None, "STOPPED", "PUBLISHED", False),
        ("RUNNING", ["STOPPED"], "RUNNING", "STOPPED", True),
        ("RUNNING", ["STOPPED"], "RUNNING", "PAUSED", False),
        (None, "RUNNING", "STOPPED", "RUNNING", True),
        (None, "RUNNING", "RUNNING", "RUNNING", False),
        (None, ["STOPPED", "PAUSED"], "STOPPED", "PAUSED", False),
        (["STOPPED", "PAUSED"], None, "STOPPED", "PAUSED", False),
        (None, None, "STOPPED", "PAUSED", True),
    ],
)
def test_which_change_is_told(sources, targets, before, after, met):
    rule = TransitionRule.parse(sources, targets)

    assert rule.is_met(PipelineStatus(before), PipelineStatus(after)) is met


@pytest.mark.parametrize(
    ("targets", "status", "between"),
    [
        (None, "STARTING", True),
        (None, "STOPPING", True),
        (None, "RUNNING", False),
        (None, "RETRY", False),
        (None, "FINISHED", False),
        (None, "RUN_ERROR", False),
        (None, "UNKNOWN", True),
        ("STOPPING", "STOPPING", False),
    ],
)
def test_which_status_is_waited_out(targets, status, between):
    rule = TransitionRule.parse("RUNNING", targets)

    assert rule.is_between(PipelineStatus(status)) is between


@pytest.mark.parametrize(
    ("sources", "targets", "text"),
    [
        ([], None, "from_statuses: got [], allowed is at least one status, or None for any."),
        ("RUNNING", "", "to_statuses: got '', allowed is at least one status, or None for any."),
        (
            5,
            None,
            "from_statuses: got 5, allowed is a status such as 'RUNNING', or a list of them.",
        ),
        (
            "RUNNING",
            ["running", "STOPPED"],
            "to_statuses: got ['RUNNING'], allowed is statuses that are not in from_statuses (None "
            "there means any).",
        ),
    ],
)
def test_wrong_rule_names_field_given_and_allowed(sources, targets, text):
    with pytest.raises(InvalidSettingError) as error:
        TransitionRule.parse(sources, targets)

    assert str(error.value) == text
