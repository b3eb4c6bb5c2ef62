"""The list of faults and its JSON form; no socket."""

import pytest

from airflow_provider_enos.emulator.faults import (
    FAULTS,
    FaultList,
    HttpError,
    LoseAnswer,
    fault_as_json,
    fault_of_json,
)


def test_list_of_faults_counts_down():
    faults = FaultList()
    faults.append(LoseAnswer(on="start", times=2))

    taken = [faults.take(name, None) for name in ("stop", "start", "start", "start")]

    assert taken == [None, LoseAnswer(on="start", times=2), LoseAnswer(on="start", times=2), None]
    assert list(faults) == []


def test_fault_leaves_alone_what_comes_before():
    faults = FaultList()
    faults.append(LoseAnswer(on="list", skip=2))
    faults.append(HttpError(500, on="list", skip=1))

    names = ("list", "start", "list", "list", "list")
    kinds = [type(faults.take(name, None)).__name__ for name in names]

    assert kinds == ["NoneType", "NoneType", "HttpError", "LoseAnswer", "NoneType"]


def test_fault_that_would_never_happen_is_refused():
    with pytest.raises(ValueError, match="no operation 'strat'"):
        LoseAnswer(on="strat")
    with pytest.raises(ValueError, match="times is 0"):
        LoseAnswer(times=0)
    with pytest.raises(ValueError, match="skip is -1"):
        LoseAnswer(skip=-1)


def test_every_fault_has_a_json_form():
    arguments = {
        "HttpError": {"status": 500, "headers": {"a": "b"}},
        "Slow": {"seconds": 1},
        "Trickle": {"bytes_per_second": 1},
        "Garbage": {"body": "x"},
        "HugeBody": {"megabytes": 1},
        "Code": {"code": 61121},
        "Redirect": {"location": "x"},
    }
    for name, kind in FAULTS.items():
        fault = kind(**arguments.get(name, {}), on="start", times=3, skip=2)
        assert fault_of_json(fault_as_json(fault)) == fault
