"""Repeating, paging, finding, waiting and stopping, without a server, a patch or a clock."""

import itertools

import pytest

from airflow_provider_enos.api import calls, change, flows, looks
from airflow_provider_enos.api.errors import (
    AccessDeniedError,
    EnOSCertificateError,
    EnOSNoAnswerError,
    EnOSServerError,
    EnOSUnreachableError,
    EnOSUnreadableAnswerError,
    ListFailedError,
    PipelineFailedError,
    PipelineNotFoundError,
    PipelineStateError,
    RateLimitedError,
    StatusTimeoutError,
    StopFailedError,
)
from airflow_provider_enos.api.messages import Answer
from airflow_provider_enos.api.pipeline import Pipeline

DOWN = EnOSUnreachableError("connection refused")
LOST = EnOSNoAnswerError("no answer")
BUSY = Answer(503, b"")
PAGE = {"code": 0, "data": {"count": 0, "pipelines": []}}


def listing(stage):
    """The query of each List Pipelines that was sent."""
    return [dict(request.query) for request in stage.requests if request.method == "GET"]


def test_full_jitter_stays_within_its_ceilings():
    ceilings = [2, 4, 8, 16, 20, 20, 20]

    for _ in range(100):
        pauses = list(itertools.islice(flows.full_jitter(), 7))
        assert all(0 <= pause <= top for pause, top in zip(pauses, ceilings, strict=True))


def test_full_jitter_uses_the_whole_range():
    """Else the clients of an organization would come back together."""
    fifth = [next(itertools.islice(flows.full_jitter(), 4, None)) for _ in range(500)]

    assert min(fifth) < 4
    assert max(fifth) > 16


def test_full_jitter_never_ends_nor_overflows():
    pause = next(itertools.islice(flows.full_jitter(), 3000, None))

    assert 0 <= pause <= 20


def test_once_repeats_nothing(stage_for):
    stage = stage_for([BUSY])

    with pytest.raises(EnOSServerError):
        stage.run(flows.once(calls.list_pipelines("o1")))

    assert len(stage.requests) == 1


def test_deeply_nested_data_is_an_unreadable_answer(stage_for):
    """Deep enough to parse, too deep to be turned into text."""

    def explode(_):
        raise RecursionError

    call = calls.Call(calls.list_pipelines("o1").request, explode)
    stage = stage_for([PAGE])

    with pytest.raises(EnOSUnreadableAnswerError, match="the answer is nested too deeply"):
        stage.run(flows.once(call))


@pytest.mark.parametrize("trouble", [DOWN, LOST, BUSY, Answer(429, b""), {"code": 61115}])
def test_read_waits_out_trouble_that_passes(trouble, stage_for):
    stage = stage_for([trouble, trouble, PAGE])

    page = stage.run(flows.ask(calls.list_pipelines("o1"), flows.Patience(60)))

    assert page.count == 0
    assert len(stage.pauses) == 2
    assert stage.pauses[0] <= 2
    assert stage.pauses[1] <= 4


@pytest.mark.parametrize("trouble", [DOWN, Answer(429, b"")])
def test_write_that_was_not_carried_out_is_repeated(trouble, stage, enos):
    enos.stops = [trouble, enos.OK]

    stage.run(flows.ask(calls.stop_pipeline("o1", "p-1")))

    assert enos.log == ["stop", "stop"]


@pytest.mark.parametrize("trouble", [LOST, BUSY, Answer(200, b"<html>"), {"code": 99000}])
def test_write_that_may_have_been_carried_out_is_not_repeated(trouble, stage, enos):
    enos.stops = [trouble]

    with pytest.raises((EnOSNoAnswerError, EnOSServerError)):
        stage.run(flows.ask(calls.stop_pipeline("o1", "p-1")))

    assert enos.log == ["stop"]


@pytest.mark.parametrize(
    ("trouble", "error_class"),
    [
        (Answer(403, b""), AccessDeniedError),
        (EnOSCertificateError("self-signed"), EnOSCertificateError),
    ],
)
def test_trouble_that_cannot_pass_is_raised_at_once(trouble, error_class, stage_for):
    stage = stage_for([trouble])

    with pytest.raises(error_class):
        stage.run(flows.ask(calls.list_pipelines("o1")))

    assert stage.pauses == []


def test_patience_counts_from_the_first_trouble(stage_for):
    stage = stage_for(lambda _: DOWN)
    stage.seconds_per_request = 3

    with pytest.raises(EnOSUnreachableError):
        stage.run(flows.ask(calls.list_pipelines("o1"), flows.Patience(60)))

    assert 30 < stage.elapsed_seconds <= 66


def test_patience_ends_with_its_deadline(stage_for):
    stage = stage_for(lambda _: DOWN)
    patience = flows.Patience(60, deadline=stage.now + 10)

    with pytest.raises(EnOSUnreachableError):
        stage.run(flows.ask(calls.list_pipelines("o1"), patience))

    assert stage.elapsed_seconds <= 10


def test_patience_of_nothing_asks_once(stage_for):
    stage = stage_for([DOWN])

    with pytest.raises(EnOSUnreachableError):
        stage.run(flows.ask(calls.list_pipelines("o1"), flows.Patience(0)))

    assert stage.pauses == []


def test_retry_after_wins_when_it_is_larger(stage_for):
    busy = Answer(429, b"", {"retry-after": "7"})
    stage = stage_for([busy, busy, PAGE])

    stage.run(flows.ask(calls.list_pipelines("o1")))

    assert stage.pauses == [7, 7]


def test_retry_after_beyond_the_patience_is_not_waited_for(stage_for):
    stage = stage_for([Answer(429, b"", {"retry-after": "3600"})])

    with pytest.raises(RateLimitedError):
        stage.run(flows.ask(calls.list_pipelines("o1")))

    assert stage.pauses == []


def test_repetition_is_told_to_the_reader_of_the_log(stage_for):
    stage = stage_for([Answer(429, b"", {"retry-after": "5"}), PAGE])

    stage.run(flows.ask(calls.list_pipelines("o1")))

    assert stage.lines == [
        "Cannot list the pipelines of organization o1: an empty answer (HTTP 429). Ask the owner "
        "of the API proxy for a higher limit, or poll less often. Trying again in 5.0 s."
    ]


def server_with(total, *, largest_page, count_is_total):
    """List Pipelines of a server with that many pipelines."""

    def server(request):
        query = dict(request.query)
        size = min(int(query["pageSize"]), largest_page)
        first = (int(query["pageNo"]) - 1) * size
        rows = [
            {"pipelineId": f"p-{i}", "status": "RUNNING"}
            for i in range(first, min(first + size, total))
        ]
        count = total if count_is_total else len(rows)
        return {"code": 0, "data": {"count": count, "pipelines": rows}}

    return server


@pytest.mark.parametrize("total", [0, 1, 99, 100, 101, 250])
@pytest.mark.parametrize("count_is_total", [True, False])
def test_listing_is_complete_whatever_count_means(total, count_is_total, stage_for):
    server = server_with(total, largest_page=1000, count_is_total=count_is_total)

    pipelines = stage_for(server).run(flows.list_pipelines("o1"))

    assert list(pipelines) == [f"p-{i}" for i in range(total)]
    assert all(pipeline.pipeline_id == key for key, pipeline in pipelines.items())


@pytest.mark.parametrize(
    ("total", "count_is_total"),
    [
        (7, True),
        (10, True),
        (25, True),
        (25, False),
        (30, False),
    ],
)
def test_listing_is_complete_when_the_server_caps_the_page(total, count_is_total, stage_for):
    server = server_with(total, largest_page=10, count_is_total=count_is_total)

    pipelines = stage_for(server).run(flows.list_pipelines("o1"))

    assert len(pipelines) == total


def test_listing_goes_on_while_count_says_that_there_are_more(stage_for):
    server = server_with(25, largest_page=5, count_is_total=True)

    pipelines = stage_for(server).run(flows.list_pipelines("o1"))

    assert len(pipelines) == 25


@pytest.mark.parametrize(
    ("total", "count_is_total", "requests"),
    [
        (0, True, 1),
        (9, True, 1),
        (9, False, 1),
        (10, True, 2),
        (10, False, 2),
        (99, True, 2),
        (100, True, 2),
        (105, True, 2),
        (105, False, 2),
        (150, True, 2),
        (150, False, 3),
    ],
)
def test_how_many_requests_a_complete_listing_costs(total, count_is_total, requests, stage_for):
    """One more where 10 pipelines or more may be a page that the server has cut off."""
    stage = stage_for(server_with(total, largest_page=1000, count_is_total=count_is_total))

    stage.run(flows.list_pipelines("o1"))

    assert len(stage.requests) == requests


@pytest.mark.parametrize(("wanted", "requests"), [("p-5", 1), ("p-99", 1), ("p-100", 2)])
def test_search_stops_at_the_page_with_its_pipeline(wanted, requests, stage_for):
    """A wait looks every few seconds; the other pages tell it nothing."""
    stage = stage_for(server_with(250, largest_page=1000, count_is_total=True))

    look = stage.run(looks.find_pipeline("o1", wanted))

    assert look.pipeline.pipeline_id == wanted
    assert len(stage.requests) == requests


@pytest.mark.parametrize("rows", [100, 10])
def test_server_that_repeats_its_page_for_ever_is_left(rows, stage_for):
    page = [{"pipelineId": f"p-{i}", "status": "RUNNING"} for i in range(rows)]
    stage = stage_for(lambda _: {"code": 0, "data": {"count": 10_000, "pipelines": page}})

    pipelines = stage.run(flows.list_pipelines("o1"))

    assert len(pipelines) == rows
    assert len(stage.requests) == 2


def test_server_that_invents_pages_for_ever_is_left(stage_for):
    numbers = itertools.count()

    def server(_):
        rows = [{"pipelineId": f"p-{next(numbers)}"} for _ in range(10)]
        return {"code": 0, "data": {"count": 10**9, "pipelines": rows}}

    stage = stage_for(server)

    pipelines = stage.run(flows.list_pipelines("o1"))

    assert len(stage.requests) == 100
    assert len(pipelines) == 1000


def test_pipeline_that_moves_to_another_page_is_listed_once_with_its_last_status(stage_for):
    first = [{"pipelineId": f"p-{i}", "status": "STARTING"} for i in range(100)]
    second = [{"pipelineId": "p-99", "status": "RUNNING"}]
    stage = stage_for(
        [
            {"code": 0, "data": {"count": 100, "pipelines": first}},
            {"code": 0, "data": {"count": 1, "pipelines": second}},
        ]
    )

    pipelines = stage.run(flows.list_pipelines("o1"))

    assert len(pipelines) == 100
    assert pipelines["p-99"].status == "RUNNING"


def test_pages_are_asked_for_as_documented(stage_for):
    stage = stage_for(server_with(150, largest_page=1000, count_is_total=True))

    stage.run(flows.list_pipelines("o1", is_system=True, if_released=False))

    common = {"orgId": "o1", "pageSize": "100", "isSystem": "true", "ifReleased": "false"}
    assert listing(stage) == [{**common, "pageNo": "1"}, {**common, "pageNo": "2"}]


def test_trouble_in_the_midst_of_a_listing_repeats_the_page_only(stage_for):
    serve = server_with(150, largest_page=1000, count_is_total=True)
    troubles = iter([False, True, False])
    stage = stage_for(lambda request: BUSY if next(troubles) else serve(request))

    pipelines = stage.run(flows.list_pipelines("o1"))

    assert len(pipelines) == 150
    assert [query["pageNo"] for query in listing(stage)] == ["1", "2", "2"]


def test_pipeline_is_found_with_one_look(stage, enos):
    look = stage.run(looks.find_pipeline("o1", "p-1"))

    assert (look.pipeline.pipeline_id, look.status) == ("p-1", "RUNNING")
    assert [query["isSystem"] for query in listing(stage)] == ["false"]
    assert listing(stage)[0]["ifReleased"] == "true"


def test_pipeline_is_found_among_others(stage_for):
    server = server_with(150, largest_page=1000, count_is_total=True)

    look = stage_for(server).run(looks.find_pipeline("o1", "p-120"))

    assert look.pipeline.pipeline_id == "p-120"


def test_system_pipeline_is_found(stage, enos):
    enos.is_system = True

    pipeline = stage.run(looks.find_pipeline("o1", "p-1"))

    assert pipeline.status == "RUNNING"
    assert [query["isSystem"] for query in listing(stage)] == ["false", "true"]


def test_pipeline_that_shows_up_a_moment_later_is_found(stage, enos):
    enos.statuses = [None, "RUNNING"]

    pipeline = stage.run(looks.find_pipeline("o1", "p-1"))

    assert pipeline.status == "RUNNING"
    assert stage.pauses == [2.0]


def test_pipeline_is_called_missing_after_the_second_look_only(stage):
    others = {"code": 0, "data": {"count": 1, "pipelines": [{"pipelineId": "p-2"}]}}
    stage.server = lambda _: others

    with pytest.raises(PipelineNotFoundError) as caught:
        stage.run(looks.find_pipeline("o1", "p-1"))

    assert stage.pauses == [2.0]
    assert len(stage.requests) == 4
    assert str(caught.value) == (
        "Cannot find pipeline p-1 of organization o1: it is not among the released pipelines. "
        "Check the pipeline ID and the organization ID, and that the pipeline has been released "
        "(EnOS console, Stream Processing > Pipeline Operation)."
    )


def test_organization_that_lists_nothing_at_all_is_asked_for_a_while(stage, enos):
    """A list that is empty for a moment must not fail a task for good."""
    enos.statuses = [None, None, None, "RUNNING"]

    assert stage.run(looks.find_pipeline("o1", "p-1")).status == "RUNNING"


def test_organization_that_stays_empty_has_no_such_pipeline(stage, enos):
    enos.statuses = [None]

    with pytest.raises(PipelineNotFoundError):
        stage.run(looks.find_pipeline("o1", "p-1"))

    assert 15 <= stage.elapsed_seconds <= 17


def test_pipeline_that_is_not_listed_right_after_its_start_is_waited_for(stage):
    others = [{"pipelineId": "p-2", "status": "RUNNING"}]
    looks = itertools.count(1)

    def server(_):
        found = [{"pipelineId": "p-1", "status": "RUNNING"}] if next(looks) > 6 else []
        return {"code": 0, "data": {"count": 1, "pipelines": others + found}}

    stage.server = server

    assert wait(stage) == "RUNNING"


def test_list_that_fails_for_good_says_so(stage, enos):
    enos.statuses = [Answer(200, b'{"code":61115,"msg":"Failed to get stream processing jobs."}')]

    with pytest.raises(ListFailedError):
        stage.run(looks.find_pipeline("o1", "p-1"))

    assert 0 < stage.elapsed_seconds <= 20


def wait(stage, target="RUNNING", *, seconds=60, interval=5, before=None):
    """Wait as after a start or a stop; ``before`` is the row that was listed before it."""
    look = before and looks.Look(Pipeline.read(before), stage.now)
    verb = {"RUNNING": "start", "STOPPED": "stop"}[target]
    return stage.run(
        looks.wait_for_status(
            "o1",
            "p-1",
            looks.Accepted(verb, target, look),
            deadline=stage.now + seconds,
            limit="start_timeout",
            poll_interval_seconds=interval,
        )
    )


def test_first_look_is_immediate_then_every_interval(stage, enos):
    enos.statuses = ["STARTING", "STARTING", "RUNNING"]

    assert wait(stage) == "RUNNING"

    assert stage.pauses == [5, 5]


def test_log_tells_changes_not_looks(stage, enos):
    enos.statuses = ["STOPPED", "STOPPED", "STARTING", "STARTING", "RUNNING"]

    wait(stage)

    assert stage.lines == [
        "Pipeline p-1: accepted -> STOPPED",
        "Pipeline p-1: STOPPED -> STARTING",
        "Pipeline p-1: STARTING -> RUNNING",
    ]


@pytest.mark.parametrize("old", ["STOPPED", "PUBLISHED", "PAUSED"])
def test_old_status_is_shown_for_a_while_after_a_start_is_accepted(old, stage, enos):
    enos.statuses = [old, old, old, "RUNNING"]

    assert wait(stage) == "RUNNING"


@pytest.mark.parametrize(
    "statuses",
    [["STARTING", "STOPPED"], ["STOPPED", "STARTING", "STOPPED"], ["PUBLISHED", "STOPPED"]],
)
def test_stopped_is_a_failure_after_another_status(statuses, stage, enos):
    enos.statuses = statuses

    with pytest.raises(PipelineFailedError) as caught:
        wait(stage)

    assert str(caught.value) == (
        "EnOS accepted the start of pipeline p-1 of organization o1, but the pipeline stopped "
        "again before it was running. Look at the pipeline's run log in the EnOS console."
    )


YESTERDAY, TODAY = "2026-01-01 12:00:00", "2026-01-02 12:00:00"


def row(status, update_time=None):
    """A row of List Pipelines."""
    return {"status": status, "updateTime": update_time}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (row("PUBLISHED"), "STOPPED"),
        (row("PAUSED"), "STOPPED"),
        (row("START_ERROR"), "STOPPED"),
        (row("STOPPED"), "START_ERROR"),
        (row("STOPPED"), "PAUSED"),
        (row("PUBLISHED", YESTERDAY), ("STOPPED", YESTERDAY)),
        (row("STOPPED", YESTERDAY), ("STOPPED", TODAY)),
        (row("START_ERROR", YESTERDAY), ("START_ERROR", TODAY)),
        (row("PUBLISHED", YESTERDAY), ("PUBLISHED", TODAY)),
    ],
)
def test_start_that_fails_before_the_first_look_is_seen_by_it(before, after, stage, enos):
    enos.statuses = [after]

    with pytest.raises(PipelineFailedError, match="EnOS accepted the start of pipeline p-1 of"):
        wait(stage, before=before)

    assert stage.elapsed_seconds == 0


@pytest.mark.parametrize("status", ["STOPPED", "PUBLISHED", "PAUSED", "START_ERROR"])
@pytest.mark.parametrize(("before", "after"), [(None, None), (YESTERDAY, YESTERDAY)])
@pytest.mark.parametrize("shown", ["RUNNING", "STARTING"])
def test_service_that_shows_the_old_status_while_it_starts_is_waited_for(
    status, before, after, shown, stage, enos
):
    enos.statuses = [(status, after)] * 8 + [shown, "RUNNING"]

    assert wait(stage, before=row(status, before)) == "RUNNING"


@pytest.mark.parametrize(("before", "after"), [(None, TODAY), (YESTERDAY, None), (None, None)])
def test_update_time_that_is_missing_is_no_news(before, after, stage, enos):
    enos.statuses = [("STOPPED", after)]

    with pytest.raises(StatusTimeoutError):
        wait(stage, before=row("STOPPED", before))


def test_log_says_once_why_an_old_status_is_waited_for(stage, enos):
    enos.statuses = ["STOPPED"]

    with pytest.raises(StatusTimeoutError):
        wait(stage, before=row("STOPPED"))

    assert stage.lines == [
        "Pipeline p-1: accepted -> STOPPED",
        "Pipeline p-1 still shows STOPPED, as before the start that EnOS accepted 15 s ago. EnOS "
        "may be working on it, or it may be over already. Giving up in 45 s (start_timeout).",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (row("RUNNING"), "PUBLISHED"),
        (row("PAUSED"), "RUNNING"),
        (row("RUNNING", YESTERDAY), ("RUNNING", TODAY)),
    ],
)
def test_stop_that_somebody_has_undone_is_seen_at_the_first_look(before, after, stage, enos):
    enos.statuses = [after]

    with pytest.raises(PipelineFailedError, match=r"the pipeline is \w+, expected STOPPED"):
        wait(stage, "STOPPED", before=before)

    assert stage.elapsed_seconds == 0


@pytest.mark.parametrize("status", ["START_ERROR", "run_error", "FAILED"])
@pytest.mark.parametrize("before", ["STARTING", "PUBLISHED", "RUN_ERROR 2"])
def test_failing_status_after_another_ends_the_wait_at_once(before, status, stage, enos):
    enos.statuses = [before, status]

    with pytest.raises(PipelineFailedError, match=f"is {status.upper()}, expected RUNNING"):
        wait(stage)

    assert stage.pauses == [5]


@pytest.mark.parametrize("old", ["START_ERROR", "RUN_ERROR", "FAILED"])
def test_failing_status_from_before_the_start_does_not_fail_it(old, stage, enos):
    """The list may be late; here it shows the failure of yesterday for 10 seconds."""
    enos.statuses = [old, old, "STARTING", "RUNNING"]

    assert wait(stage) == "RUNNING"


@pytest.mark.parametrize(("verb", "target"), [("start", "RUNNING"), ("stop", "STOPPED")])
def test_failing_status_that_stays_ends_the_wait(verb, target, stage, enos):
    enos.statuses = ["START_ERROR"]

    with pytest.raises(PipelineFailedError) as caught:
        wait(stage, target)

    assert stage.pauses == [5, 5, 5]
    assert str(caught.value) == (
        f"EnOS accepted the {verb} of pipeline p-1 of organization o1, but the pipeline is "
        f"START_ERROR, expected {target}. Look at the pipeline's run log in the EnOS console."
    )


def test_failing_status_that_comes_back_ends_the_wait(stage, enos):
    enos.statuses = ["START_ERROR", "STARTING", "START_ERROR"]

    with pytest.raises(PipelineFailedError):
        wait(stage)

    assert stage.pauses == [5, 5]


def test_failing_status_is_named_when_the_deadline_comes_first(stage, enos):
    enos.statuses = ["START_ERROR"]

    with pytest.raises(StatusTimeoutError, match="is still START_ERROR, awaited was RUNNING"):
        wait(stage, seconds=7)

    assert stage.elapsed_seconds == 7


@pytest.mark.parametrize("status", ["STOPPED", "STARTING", "PAUSED", "DANCING"])
def test_deadline_ends_the_wait_with_a_last_look(status, stage, enos):
    enos.statuses = [status]

    with pytest.raises(StatusTimeoutError) as caught:
        wait(stage, seconds=12, interval=5)

    assert str(caught.value) == (
        f"pipeline p-1 of organization o1 is still {status}, awaited was RUNNING, and "
        "start_timeout is over. Look at the pipeline's run log in the EnOS console."
    )
    assert stage.pauses == [5, 5, 2]


def test_deadline_that_has_passed_still_allows_one_look(stage, enos):
    assert wait(stage, seconds=-1) == "RUNNING"


def test_outage_of_a_minute_does_not_end_a_wait(stage, enos):
    """A gateway's restart must not fail a task."""
    serve, stage.server = enos, lambda r: DOWN if stage.elapsed_seconds < 60 else serve(r)

    assert wait(stage, seconds=600) == "RUNNING"


def test_outage_does_not_stretch_the_deadline(stage):
    stage.server = lambda _: DOWN

    with pytest.raises((EnOSUnreachableError, StatusTimeoutError)):
        wait(stage, seconds=30)

    assert stage.elapsed_seconds <= 30


def stopping(stage, *, seconds=60, interval=5, started_at=0.0):
    return change.stop_pipeline(
        "o1",
        "p-1",
        deadline=stage.now + seconds,
        limit="the time for a stop",
        poll_interval_seconds=interval,
        started_at=started_at,
    )


def stopped(stage, **times):
    return stage.run(stopping(stage, **times))


def test_stop_waits_until_it_is_stopped(stage, enos):
    enos.statuses = ["RUNNING", "STOPPING", "STOPPED"]

    assert stopped(stage) == "STOPPED"

    assert enos.log == ["stop", "list", "list", "list"]


def test_stop_of_a_stopped_pipeline_is_a_success(stage, enos, refusal):
    enos.stops, enos.statuses = [refusal(61152)], ["STOPPED"]

    assert stopped(stage) == "STOPPED"

    assert enos.log == ["stop", "list"]


@pytest.mark.parametrize("status", ["PUBLISHED", "START_ERROR"])
def test_stop_that_the_status_forbids_fails_with_the_refusal(status, stage, enos, refusal):
    enos.stops, enos.statuses = [refusal(61152)], [status]

    with pytest.raises(PipelineStateError) as caught:
        stopped(stage)

    assert caught.value.code == 61152
    assert enos.log.count("stop") == 1


def test_stop_refused_although_it_runs_is_asked_again(stage, enos, refusal):
    """61152 although RUNNING may be stopped: it was in between a moment ago."""
    enos.stops, enos.statuses = [refusal(61152), enos.OK], ["RUNNING", "STOPPED"]

    assert stopped(stage) == "STOPPED"

    assert stage.pauses == [5]


def test_stop_refused_although_it_runs_is_asked_again_however_long_the_interval(
    stage, enos, refusal
):
    enos.stops, enos.statuses = [refusal(61152), enos.OK], ["RUNNING", "STOPPED"]

    assert stopped(stage, seconds=600, interval=60) == "STOPPED"


@pytest.mark.parametrize("status", ["RUNNING", "PAUSED"])
def test_refusal_that_contradicts_the_status_is_not_asked_for_ever(status, stage, enos, refusal):
    enos.stops, enos.statuses = [refusal(61152)], [status]

    with pytest.raises(PipelineStateError):
        stopped(stage)

    assert enos.log.count("stop") == 4
    assert stage.elapsed_seconds == 15


def test_refused_stop_ends_with_the_deadline(stage, enos, refusal):
    enos.stops, enos.statuses = [refusal(61152)], ["RUNNING"]

    with pytest.raises(PipelineStateError):
        stopped(stage, seconds=7)

    assert stage.pauses == [5, 2]


@pytest.mark.parametrize("lost", [LOST, BUSY, Answer(200, b"")])
def test_lost_answer_to_stop_is_looked_up(lost, stage, enos):
    enos.stops, enos.statuses = [lost], ["STOPPED"]

    assert stopped(stage) == "STOPPED"

    assert enos.log.count("stop") == 1


def test_stop_whose_answer_was_lost_and_that_did_not_work_is_sent_again(stage, enos):
    enos.stops, enos.statuses = [LOST, enos.OK], ["RUNNING", "STOPPED"]

    assert stopped(stage) == "STOPPED"

    assert enos.log[:3] == ["stop", "list", "stop"]


def test_pipeline_that_is_starting_is_stopped_once_it_runs(stage, enos, refusal):
    """Waiting alone would leave it running: nobody else stops it."""
    enos.stops = [refusal(61152), refusal(61152), enos.OK]
    enos.statuses = ["STARTING", "STARTING", "RUNNING", "STOPPED"]

    assert stopped(stage) == "STOPPED"

    assert enos.log.count("stop") == 3


@pytest.mark.parametrize("old", ["STOPPED", "PUBLISHED", "START_ERROR"])
def test_status_from_before_a_start_does_not_pass_for_a_stop(old, stage, enos, refusal):
    """EnOS refuses the stop while it starts; believing the late list would leave it running."""
    enos.stops = [refusal(61152), refusal(61152), enos.OK]
    enos.statuses = [old, old, "STOPPED"]

    assert stopped(stage, started_at=stage.now) == "STOPPED"

    assert enos.log.count("stop") == 3


def test_stop_that_is_never_answered_ends_with_the_deadline(stage, enos):
    enos.stops, enos.statuses = [LOST], ["RUNNING"]

    with pytest.raises((EnOSNoAnswerError, StatusTimeoutError)):
        stopped(stage, seconds=30)

    assert stage.elapsed_seconds <= 31


def test_stop_that_is_accepted_and_never_done_names_its_limit(stage, enos):
    enos.statuses = ["STOPPING"]

    with pytest.raises(StatusTimeoutError) as caught:
        stopped(stage, seconds=30)

    assert stage.elapsed_seconds == 30
    assert str(caught.value) == (
        "pipeline p-1 of organization o1 is still STOPPING, awaited was STOPPED, and the time for "
        "a stop is over. Look at the pipeline's run log in the EnOS console."
    )


def test_outage_of_a_minute_does_not_end_a_stop(stage, enos):
    enos.statuses = ["STOPPED"]
    stage.server = lambda request: DOWN if stage.elapsed_seconds < 60 else enos(request)

    assert stopped(stage, seconds=600) == "STOPPED"


def test_outage_does_not_stretch_the_time_for_a_stop(stage):
    stage.server = lambda _: DOWN

    with pytest.raises(EnOSUnreachableError):
        stopped(stage, seconds=30)

    assert stage.elapsed_seconds <= 30


def test_retry_after_of_a_stop_is_kept(stage, enos):
    enos.stops = [Answer(503, b"", {"retry-after": "20"}), enos.OK]
    enos.statuses = ["RUNNING", "STOPPED"]

    assert stopped(stage) == "STOPPED"

    assert stage.pauses == [20]


def test_retry_after_of_a_stop_does_not_stretch_its_time(stage, enos):
    enos.stops, enos.statuses = [Answer(503, b"", {"retry-after": "60"})], ["RUNNING"]

    def server(request):
        if request.method == "GET":
            stage.now += 40
        return enos(request)

    stage.server = server

    with pytest.raises(EnOSServerError):
        stopped(stage, seconds=60)

    # The last stop is sent with the deadline and looked up once more.
    assert sum(stage.pauses) <= 20


def test_stop_that_failed_inside_enos_is_not_repeated(stage, enos, refusal):
    enos.stops = [refusal(61122)]

    with pytest.raises(StopFailedError):
        stopped(stage)

    assert enos.log == ["stop"]


def test_killed_stop_sends_nothing_more(stage, enos):
    enos.statuses = ["STOPPING"]

    stage.run_until_killed(stopping(stage, seconds=float("inf")))

    assert enos.log == ["stop", "list"]
