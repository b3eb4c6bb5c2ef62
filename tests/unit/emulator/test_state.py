"""What the calls do to pipelines, and what time does; no socket, and a clock that a test moves."""

import json

import pytest

from airflow_provider_enos.emulator.model import Quota
from airflow_provider_enos.emulator.rules import Refused
from airflow_provider_enos.emulator.settings import Settings
from airflow_provider_enos.emulator.state import StreamService

STANDALONE = {"executionMode": 0, "kafkaRate": 1000, "resourceConfig": {"server": 1}}
CLUSTER = {
    "executionMode": 1,
    "kafkaRate": 1000,
    "resourceConfig": {"server": 1, "yarn": {"workerCount": 2, "master": 1, "slave": 2}},
}


def refusal_of(call, *args, **kwargs):
    with pytest.raises(Refused) as refused:
        call(*args, **kwargs)
    return refused.value.code


def status(service, pipeline_id):
    return service.pipeline(pipeline_id).status


def rows(service, org_id="o1", *, is_system=False, if_released=True, page_size=10, page_no=1):
    return service.list_pipelines(
        org_id,
        is_system=is_system,
        if_released=if_released,
        page_size=page_size,
        page_no=page_no,
    )


def test_start_takes_its_time(service, settings, clock):
    settings.start_seconds = 5

    service.start("o1", "a", STANDALONE)

    assert status(service, "a") == "STARTING"
    clock.now += 4.9
    assert status(service, "a") == "STARTING"
    clock.now += 0.1
    assert status(service, "a") == "RUNNING"
    assert service.pipeline("a").history == [
        (1_700_000_000.0, "PUBLISHED"),
        (1_700_000_000.0, "STARTING"),
        (1_700_000_005.0, "RUNNING"),
    ]


@pytest.mark.parametrize(
    ("action", "meanwhile", "after"),
    [
        ("start", "STARTING", "RUNNING"),
        ("stop", "STOPPING", "STOPPED"),
        ("pause", "PAUSING", "PAUSED"),
    ],
)
def test_transition_lasts_until_the_test_finishes_it(
    service, settings, clock, action, meanwhile, after
):
    setattr(settings, f"{action}_seconds", None)
    if action == "start":
        service.start("o1", "a", STANDALONE)
    else:
        service.set_status("a", "RUNNING")
        getattr(service, action)("o1", "a")
    clock.now += 10**9
    assert status(service, "a") == meanwhile

    service.finish_transition("a")

    assert service.pipeline("a").history[-1] == (clock.now, after)
    with pytest.raises(ValueError, match="'a' is in no transition"):
        service.finish_transition("a")


def test_transition_of_a_given_time_may_be_finished_sooner(service, settings):
    settings.start_seconds = 3600
    service.set_start_outcome("a", "START_ERROR")
    service.start("o1", "a", STANDALONE)

    service.finish_transition("a")

    assert status(service, "a") == "START_ERROR"


def test_start_that_a_test_finishes_holds_the_lock_until_then(service, settings, clock):
    settings.start_seconds = None
    service.start("o1", "a", STANDALONE)
    clock.now += 10**9
    assert refusal_of(service.start, "o1", "b", STANDALONE) == 61121

    service.finish_transition("a")

    service.start("o1", "b", STANDALONE)


def test_lock_of_a_start_that_a_test_finishes_may_have_a_time_of_its_own(service, settings, clock):
    settings.start_seconds, settings.lock_seconds = None, 8
    service.start("o1", "a", STANDALONE)
    service.finish_transition("a")
    assert refusal_of(service.start, "o1", "b", STANDALONE) == 61121

    clock.now += 8

    service.start("o1", "b", STANDALONE)


def test_released_lock_lets_the_next_one_in_before_the_start_is_done(service, settings):
    settings.start_seconds = None
    service.start("o1", "a", STANDALONE)

    service.release_start_lock("o1")

    service.start("o1", "b", STANDALONE)
    assert status(service, "a") == "STARTING"


def test_start_of_no_time_runs_at_once(service):
    service.start("o1", "a", STANDALONE)

    assert status(service, "a") == "RUNNING"


def test_old_status_may_stay_shown_while_starting(service, settings, clock):
    settings.start_seconds, settings.status_while_starting = 5, None

    service.start("o1", "a", STANDALONE)

    assert status(service, "a") == "PUBLISHED"
    clock.now += 5
    assert status(service, "a") == "RUNNING"


def test_pipeline_under_way_takes_no_other_action_even_if_its_old_status_shows(service, settings):
    settings.start_seconds, settings.status_while_starting = 5, None
    settings.lock_seconds = 0
    service.set_status("a", "PAUSED")
    service.start("o1", "a", STANDALONE)

    assert refusal_of(service.start, "o1", "a", STANDALONE) == 61165
    assert refusal_of(service.stop, "o1", "a") == 61152
    assert refusal_of(service.reset_offset, "o1", "a") == 61168


def test_start_remembers_its_settings(service):
    service.start("o1", "a", CLUSTER)

    pipeline = service.pipeline("a")
    assert (pipeline.starts_accepted, pipeline.execution_mode, pipeline.kafka_rate) == (1, 1, 1000)
    assert pipeline.resource_config == CLUSTER["resourceConfig"]


def test_failing_start_ends_in_its_outcome_and_may_be_repeated(service, settings, clock):
    settings.start_seconds = 5
    service.set_start_outcome("a", "START_ERROR")
    service.start("o1", "a", STANDALONE)
    clock.now += 5
    assert status(service, "a") == "START_ERROR"

    service.set_start_outcome("a", "RUNNING")
    service.start("o1", "a", STANDALONE)

    clock.now += 5
    assert status(service, "a") == "RUNNING"


def test_lock_keeps_out_the_organization_but_no_other(service, settings, clock):
    settings.start_seconds = 5
    service.start("o1", "a", STANDALONE)

    assert refusal_of(service.start, "o1", "b", STANDALONE) == 61121
    service.start("o2", "c", STANDALONE)
    clock.now += 5
    service.start("o1", "b", STANDALONE)


def test_lock_may_be_longer_or_shorter_than_the_start(service, settings, clock):
    settings.start_seconds, settings.lock_seconds = 5, 8
    service.start("o1", "a", STANDALONE)
    clock.now += 7
    assert status(service, "a") == "RUNNING"
    assert refusal_of(service.start, "o1", "b", STANDALONE) == 61121

    clock.now += 1
    service.start("o1", "b", STANDALONE)


def test_lock_time_may_be_drawn_for_each_start(service, settings, clock):
    holds = iter([1.0, 20.0])
    settings.lock_seconds = lambda: next(holds)
    service.start("o1", "a", STANDALONE)
    clock.now += 1
    service.start("o1", "b", STANDALONE)
    service.stop("o1", "a")

    clock.now += 19
    assert refusal_of(service.start, "o1", "a", STANDALONE) == 61121


def test_refused_start_holds_no_lock_and_counts_nothing(service, settings):
    settings.lock_seconds = 60
    service.set_status("b", "RUNNING")

    assert refusal_of(service.start, "o1", "b", STANDALONE) == 61165
    service.start("o1", "a", STANDALONE)

    assert service.pipeline("b").starts_accepted == 0


def test_stranger_holds_the_lock(service, clock):
    service.hold_start_lock("o1", 15)
    service.hold_start_lock("o1", 3)

    clock.now += 14
    assert refusal_of(service.start, "o1", "a", STANDALONE) == 61121
    clock.now += 1
    service.start("o1", "a", STANDALONE)


def test_stranger_who_is_done_lets_the_next_one_in(service):
    service.hold_start_lock("o1", 15)

    service.release_start_lock("o1")

    service.start("o1", "a", STANDALONE)


def test_order_of_the_checks_of_a_start(service):
    """Each thing wrong hides those after it."""
    service.hold_start_lock("o1", 15)
    service.set_quota("o1", Quota(standalone=None))
    service.set_status("b", "RUNNING")

    assert refusal_of(service.start, "o1", "x", None) == 61108
    assert refusal_of(service.start, "o1", "b", None) == 61100
    assert refusal_of(service.start, "o1", "b", STANDALONE) == 61165
    assert refusal_of(service.start, "o1", "a", STANDALONE) == 61121


def test_resource_never_requested(service):
    service.set_quota("o1", Quota(standalone=None, yarn=None))

    with pytest.raises(Refused, match="not requested Standalone processing") as refused:
        service.start("o1", "a", STANDALONE)
    assert refused.value.code == 61128
    with pytest.raises(Refused, match="not requested Cluster processing"):
        service.start("o1", "a", CLUSTER)


@pytest.mark.parametrize(
    ("quota", "body"),
    [
        (Quota(standalone=1.5), STANDALONE),
        (Quota(server=1.5), CLUSTER),
        (Quota(yarn=9.5), CLUSTER),
    ],
)
def test_running_pipelines_use_up_the_quota(service, quota, body):
    service.set_quota("o1", quota)
    service.start("o1", "a", body)
    assert refusal_of(service.start, "o1", "b", body) == 61126

    service.pause("o1", "a")

    service.start("o1", "b", body)


def test_starting_pipelines_use_the_quota_too(service, settings):
    settings.start_seconds, settings.lock_seconds = 5, 0
    service.set_quota("o1", Quota(standalone=1))
    service.start("o1", "a", STANDALONE)

    assert refusal_of(service.start, "o1", "b", STANDALONE) == 61126


def test_modes_have_separate_quotas(service):
    service.set_quota("o1", Quota(standalone=1, server=1, yarn=5))

    service.start("o1", "a", STANDALONE)
    service.start("o1", "b", CLUSTER)

    assert status(service, "b") == "RUNNING"


def test_pause_and_stop_take_their_time(service, settings, clock):
    settings.pause_seconds, settings.stop_seconds = 2, 3
    service.start("o1", "a", STANDALONE)

    service.pause("o1", "a")
    assert status(service, "a") == "PAUSING"
    clock.now += 2
    assert status(service, "a") == "PAUSED"

    service.stop("o1", "a")
    assert status(service, "a") == "STOPPING"
    clock.now += 3
    assert status(service, "a") == "STOPPED"


def test_statuses_between_have_other_names_if_set(service, settings):
    settings.pause_seconds = settings.stop_seconds = 2
    settings.status_while_pausing, settings.status_while_stopping = "HALTING", None
    service.set_status("a", "RUNNING")
    service.set_status("b", "RUNNING")

    service.pause("o1", "a")
    service.stop("o1", "b")

    assert (status(service, "a"), status(service, "b")) == ("HALTING", "RUNNING")


def test_unknown_pipeline_and_pipeline_of_another_organization(service):
    for call in (service.pause, service.stop, service.release, service.reset_offset):
        assert refusal_of(call, "o1", "c") == 61108
    assert refusal_of(service.offset_lag, "o1", "c") == 61108
    assert refusal_of(service.save, "o1", "c", {}) == 61108
    assert refusal_of(service.details, "o1", "c", if_released=False) == 61108


def test_new_pipeline_from_save_to_running(service):
    pipeline_id = service.save("o1", None, {"name": "new"})
    assert refusal_of(service.start, "o1", pipeline_id, STANDALONE) == 61165
    assert refusal_of(service.details, "o1", pipeline_id, if_released=True) == 61108

    service.release("o1", pipeline_id)
    service.start("o1", pipeline_id, STANDALONE)

    assert service.details("o1", pipeline_id, if_released=True).name == "new"
    assert status(service, pipeline_id) == "RUNNING"


def test_saved_change_goes_online_with_the_next_release(service):
    service.set_status("a", "STOPPED")
    service.save("o1", "a", {"version": "0.2.0"})
    assert service.details("o1", "a", if_released=False).version == "0.2.0"
    assert service.details("o1", "a", if_released=True).version == "0.1.0"

    service.release("o1", "a")

    assert service.details("o1", "a", if_released=True).version == "0.2.0"
    assert status(service, "a") == "PUBLISHED"


def test_release_of_a_running_pipeline_is_refused(service):
    service.start("o1", "a", STANDALONE)

    assert refusal_of(service.release, "o1", "a") == 61169


def test_list_by_kind(service):
    service.save("o1", None, {"name": "draft"})

    def names(**kind):
        return [row["pipelineName"] for row in rows(service, **kind)[1]]

    assert names() == ["a", "b"]
    assert names(if_released=False) == ["draft"]
    assert names(is_system=True) == [
        "Real-Time Data Reader",
        "Real-Time Data Writer",
        "Offline Data Reader",
        "Offline Data Writer",
    ]
    assert {row["status"] for row in rows(service, is_system=True)[1]} == {"RUNNING"}
    assert names(is_system=True, if_released=False) == []


def test_list_by_pages(service):
    assert [row["pipelineId"] for row in rows(service, page_size=1, page_no=2)[1]] == ["b"]
    assert rows(service, page_size=1, page_no=3) == (2, [])


def test_row_of_the_list(service, clock):
    service.start("o1", "a", {**STANDALONE, "resourceConfig": {"server": "1.5"}})

    assert rows(service)[1][0] == {
        "orgId": "o1",
        "status": "RUNNING",
        "version": "0.1.0",
        "pipelineId": "a",
        "pipelineName": "a",
        "updateTime": "2023-11-14 22:13:20",
        "alarmConfig": '{"alarmMode":1,"receivers":"u15453595541281"}',
        "templateType": 1,
        "executionMode": 0,
        "resourceConfig": '{"men":3.0,"cpu":1.5}',
        "messageChannel": 0,
    }


def test_status_may_be_an_old_one(service, clock):
    service.set_status("a", "STOPPED", at=clock.now - 3600)

    row = rows(service)[1][0]
    assert (row["status"], row["updateTime"]) == ("STOPPED", "2023-11-14 21:13:20")


def test_reset_offset_skips_what_was_left(service, clock):
    service.set_lag("a", 500)
    assert refusal_of(service.offset_lag, "o1", "a") == 99000
    assert refusal_of(service.reset_offset, "o1", "a") == 61168
    service.start("o1", "a", STANDALONE)
    assert service.offset_lag("o1", "a") == (clock.now, 6094977, 500)
    assert refusal_of(service.reset_offset, "o1", "a") == 61168
    service.stop("o1", "a")

    service.reset_offset("o1", "a")

    service.start("o1", "a", STANDALONE)
    assert service.offset_lag("o1", "a") == (clock.now, 6095477, 0)


def test_stage_state_is_gone_from_delete_to_the_next_start(service):
    stage, points = "LastRecordAppender_01", [("asset", "p1"), ("asset", "p2")]
    assert service.stage_state("o1", "a", stage, points)[1:] == ("record", points)
    assert refusal_of(service.erase_stage_state, "o1", "a", stage, points) == 61199
    service.set_status("a", "PAUSED")

    service.erase_stage_state("o1", "a", stage, points[:1])

    assert service.stage_state("o1", "a", stage, points)[2] == points[1:]
    service.start("o1", "a", STANDALONE)
    assert service.stage_state("o1", "a", stage, points)[2] == points


def test_stage_state_refusals(service):
    point = [("asset", "point")]
    assert refusal_of(service.stage_state, "o1", "c", "RecordCapturer_01", point) == 61106
    assert refusal_of(service.stage_state, "o1", "a", "Nothing_01", point) == 61107
    many = point * 100_001
    assert refusal_of(service.stage_state, "o1", "a", "RecordCapturer_01", many) == 61105


def test_copies_do_not_reach_the_service(service):
    service.pipeline("a").history.clear()
    service.pipelines("o1")[0].show("RUNNING", 0)

    assert status(service, "a") == "PUBLISHED"
    assert len(service.pipeline("a").history) == 1


def test_what_exists_cannot_be_added_and_what_does_not_cannot_be_set(service):
    with pytest.raises(ValueError, match="exists"):
        service.add_organization("o1")
    with pytest.raises(ValueError, match="exists"):
        service.add_pipeline("o2", "a", "PUBLISHED", released=True, name=None)
    with pytest.raises(KeyError):
        service.set_status("x", "RUNNING")


def test_another_service_goes_on_from_the_file(settings, clock, tmp_path):
    """Statuses, a start under way, its lock, quotas and deleted states survive."""
    path = tmp_path / "enos.json"
    settings.start_seconds = 5
    old = StreamService(settings, clock, path)
    old.add_organization("o1")
    for name in "ab":
        old.add_pipeline("o1", name, "PUBLISHED", released=True, name=None)
    old.set_quota("o1", Quota(standalone=1))
    old.set_status("b", "PAUSED")
    old.erase_stage_state("o1", "b", "RecordCapturer_01", [("asset", "point")])
    old.start("o1", "a", STANDALONE)

    new = StreamService(settings, clock, path)

    assert [new.pipeline(name) for name in "ab"] == [old.pipeline(name) for name in "ab"]
    assert status(new, "a") == "STARTING"
    assert refusal_of(new.start, "o1", "b", STANDALONE) == 61121
    clock.now += 5
    assert status(new, "a") == "RUNNING"
    assert refusal_of(new.start, "o1", "b", STANDALONE) == 61126


def test_another_service_still_holds_what_the_test_holds(settings, clock, tmp_path):
    path = tmp_path / "enos.json"
    settings.start_seconds = None
    old = StreamService(settings, clock, path)
    old.add_organization("o1")
    for name in "ab":
        old.add_pipeline("o1", name, "PUBLISHED", released=True, name=None)
    old.start("o1", "a", STANDALONE)

    new = StreamService(settings, clock, path)

    assert refusal_of(new.start, "o1", "b", STANDALONE) == 61121
    new.finish_transition("a")
    assert status(new, "a") == "RUNNING"


def test_refused_call_does_not_write_the_file(clock, tmp_path):
    path = tmp_path / "enos.json"
    service = StreamService(Settings(), clock, path)
    service.add_organization("o1")
    before = path.stat().st_ino

    refusal_of(service.stop, "o1", "x")

    assert path.stat().st_ino == before
    assert [org["org_id"] for org in json.loads(path.read_text())["organizations"]] == ["o1"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start_seconds", -1),
        ("start_seconds", "5"),
        ("token_seconds", None),
        ("stop_seconds", True),
        ("lock_seconds", float("inf")),
        ("status_while_starting", ""),
        ("blocking_start", 1),
        ("list_count", "all"),
        ("refusal_status", 500),
        ("token_status_key", "code"),
    ],
)
def test_setting_that_does_not_fit_is_refused(settings, name, value):
    with pytest.raises(ValueError, match=f"does not fit setting '{name}'"):
        setattr(settings, name, value)


def test_settings_are_updated_together_or_not_at_all(settings):
    with pytest.raises(AttributeError, match="no setting 'strat_seconds'"):
        settings.update({"stop_seconds": 3, "strat_seconds": 3})
    assert settings.stop_seconds == 0

    settings.update({"stop_seconds": 3, "lock_seconds": None})

    assert settings.stop_seconds == 3
