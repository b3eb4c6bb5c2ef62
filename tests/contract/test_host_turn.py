"""One turn for the processes of a host; real processes, and one of them is killed."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import FIRST_COMPLETED, wait

import pytest

from airflow_provider_enos.api.pacing import Pacing
from airflow_provider_enos.api.queue import StartQueue
from airflow_provider_enos.hooks.host_turn import FileTurn, queue_for

#: Take the turn, say so, and keep it until a line comes in; then write what was learned.
KEEPER = """
import sys
from pathlib import Path
from airflow_provider_enos.api.queue import StartQueue
from airflow_provider_enos.hooks.host_turn import FileTurn

queue = StartQueue(FileTurn(Path(sys.argv[1])))
place = queue.enter("p")
pacing = place.turn.result()
print("mine", flush=True)
sys.stdin.readline()
pacing.accepted_start(1000.0, "p-of-another-process")
queue.leave(place)
print("left", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "turns" / "o1.json"


@pytest.fixture
def keeper(path):
    """Another process that has the turn."""
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.communicate()


def test_turn_and_knowledge_go_from_one_process_to_the_next(path, keeper):
    queue = StartQueue(FileTurn(path))
    place = queue.enter("p")
    assert not place.turn.done()

    keeper.stdin.write("\n")
    keeper.stdin.flush()

    assert place.turn.result(timeout=10).accepted == ["p-of-another-process"]


def test_turn_of_a_killed_process_is_free_at_once(path, keeper):
    place = StartQueue(FileTurn(path)).enter("p")

    keeper.send_signal(signal.SIGKILL)

    assert place.turn.result(timeout=5) == Pacing()


def test_waiting_for_another_process_takes_one_thread_however_many_come_and_go(path, keeper):
    queue = StartQueue(FileTurn(path))
    before = threading.active_count()
    for _ in range(50):
        queue.leave(queue.enter("p"))

    assert threading.active_count() == before + 1

    keeper.kill()
    assert queue.enter("p").turn.result(timeout=5) == Pacing()


def test_turn_that_is_had_when_nobody_wants_it_any_more_is_given_back(path, keeper):
    queue = StartQueue(FileTurn(path))
    queue.leave(queue.enter("p"))
    other = StartQueue(FileTurn(path)).enter("p")

    keeper.kill()

    assert other.turn.result(timeout=5) == Pacing()


def taken(queue):
    """Have a turn, and give it back with something learned."""
    place = queue.enter("p")
    place.turn.result(timeout=5).accepted_start(time.time(), "p-1")
    queue.leave(place)
    return queue.enter("p").turn.result(timeout=5)


def test_file_is_private_and_holds_no_secret(path):
    taken(StartQueue(FileTurn(path)))

    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(path.read_text())) == set(Pacing().to_payload())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", b"[" * 70_000])
def test_file_that_a_dying_process_left_half_written_is_as_if_nothing_was_known(path, content):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(content)

    assert StartQueue(FileTurn(path)).enter("p").turn.result(timeout=5) == Pacing()


def not_writable(folder):
    folder.write_text("a file, not a folder")


def open_to_others(folder):
    folder.mkdir()
    folder.chmod(0o777)


def leading_elsewhere(folder):
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)


@pytest.mark.parametrize("prepare", [not_writable, open_to_others, leading_elsewhere])
def test_process_queues_alone_where_the_file_cannot_be_trusted(path, prepare, caplog):
    prepare(path.parent)

    known = taken(StartQueue(FileTurn(path)))

    assert known.accepted == ["p-1"]
    assert not path.exists()
    assert "in this process only" in caplog.text


def test_link_in_place_of_the_file_is_not_followed(path, tmp_path, caplog):
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "of-somebody-else")

    taken(StartQueue(FileTurn(path)))

    assert not (tmp_path / "of-somebody-else").exists()


def test_process_without_threads_to_spare_queues_alone(path, monkeypatch, caplog):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    known = taken(StartQueue(FileTurn(path)))

    assert known.accepted == ["p-1"]
    assert "can't start new thread" in caplog.text


def test_process_without_a_temporary_folder_queues_alone(monkeypatch, caplog):
    def refuse():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)

    assert taken(queue_for("https://no-folder.invalid", "o1")).accepted == ["p-1"]
    assert "No usable temporary directory" in caplog.text


def test_file_that_is_cleaned_away_while_others_wait_lets_in_one_at_a_time(path, keeper):
    waiting = StartQueue(FileTurn(path)).enter("p")
    path.unlink()
    later = StartQueue(FileTurn(path)).enter("p")
    turns = [waiting.turn, later.turn]
    wait(turns, timeout=5, return_when=FIRST_COMPLETED)  # of a new file, beside the keeper's

    keeper.kill()
    keeper.wait()
    wait(turns, timeout=0.3)

    assert [turn.done() for turn in turns].count(True) == 1


def test_file_that_is_gone_once_it_is_locked_is_made_anew(path, monkeypatch):
    real, calls = fcntl.flock, []

    def lock_and_clean_up(file, operation):
        real(file, operation)
        calls.append(operation)
        if len(calls) == 1:
            path.unlink()

    monkeypatch.setattr(fcntl, "flock", lock_and_clean_up)

    place = StartQueue(FileTurn(path)).enter("p")
    place.turn.result(timeout=5)

    assert path.exists()
    assert calls == [fcntl.LOCK_EX] * 2


def test_full_disk_costs_the_knowledge_and_not_the_turn(path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)

    assert taken(StartQueue(FileTurn(path))) == Pacing()
    assert "No space left on device" in caplog.text


def test_forked_process_does_not_give_back_its_parents_turn(path):
    parents = StartQueue(FileTurn(path))
    place = parents.enter("p")
    place.turn.result(timeout=5)
    other = StartQueue(FileTurn(path)).enter("p")

    child = os.fork()
    if child == 0:
        parents.leave(place)
        os._exit(0)
    os.waitpid(child, 0)

    with pytest.raises(TimeoutError):
        other.turn.result(timeout=0.2)
    parents.leave(place)
    assert other.turn.result(timeout=5) == Pacing()


def test_every_organization_of_every_gateway_has_a_queue_of_its_own():
    queue = queue_for("https://a.invalid", "o1")

    assert queue_for("https://a.invalid", "o1") is queue
    assert queue_for("https://a.invalid", "o2") is not queue
    assert queue_for("https://b.invalid", "o1") is not queue


def test_forked_process_waits_for_nobody_of_its_parent(path):
    parents = queue_for("https://fork.invalid", "o1")
    place = parents.enter("p")
    place.turn.result(timeout=5)

    child = os.fork()
    if child == 0:
        os._exit(0 if queue_for("https://fork.invalid", "o1") is not parents else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    parents.leave(place)
