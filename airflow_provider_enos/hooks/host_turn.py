"""
One turn for all processes of a host: an advisory lock on a file, with what was learned in it.

The kernel frees the lock when its holder dies. The file holds times and pipeline IDs, no secret.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_enos.api.queue import OwnTurn, StartQueue
from airflow_provider_enos.api.registry import Registry

#: Far more than is ever written.
_MAX_BYTES = 65_536

log = logging.getLogger(__name__)


class FileTurn:
    """
    A :class:`~airflow_provider_enos.api.queue.SharedTurn` over a file.

    Where the file cannot be used, the process queues alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._known: object = None
        self._owner = os.getpid()

    def claim(self, on_turn: Callable[[object], None]) -> None:
        """Wait for the lock in a thread: the kernel offers no other way to be woken by it."""
        thread = threading.Thread(target=self._claim, args=[on_turn], name="enos-turn", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            self._queue_alone(error, on_turn)

    def give_back(self, known: dict[str, Any]) -> None:
        """Write down what is known and free the lock."""
        self._known = known
        file, self._file = self._file, None
        if file is None:
            return
        if self._owner != os.getpid():
            os.close(file)  # forked meanwhile: the turn is still the parent's
            return
        try:
            os.pwrite(file, text := json.dumps(known).encode(), 0)
            os.ftruncate(file, len(text))
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # also for processes forked meanwhile
            os.close(file)

    def _claim(self, on_turn: Callable[[object], None]) -> None:
        try:
            _make_private(self._path.parent)
            self._file = _locked(self._path)
            self._known = _parsed(os.pread(self._file, _MAX_BYTES, 0))
        except OSError as error:
            self._queue_alone(error, on_turn)
        else:
            self._owner = os.getpid()
            on_turn(self._known)

    def _queue_alone(self, error: Exception, on_turn: Callable[[object], None]) -> None:
        log.warning("Starts queue up in this process only, not on this host: %s", error)
        on_turn(self._known)


def queue_for(gateway_url: str, org_id: str) -> StartQueue:
    """Return the process's queue for the starts of an organization."""
    return _queues.get((gateway_url, org_id))


def _new_queue(key: tuple[str, str]) -> StartQueue:
    name = hashlib.sha256("\n".join(key).encode()).hexdigest()
    try:
        folder = Path(tempfile.gettempdir(), f"airflow-provider-enos-{os.getuid()}")
    except OSError as error:
        log.warning("Starts queue up in this process only, not on this host: %s", error)
        return StartQueue(OwnTurn())
    return StartQueue(FileTurn(folder / f"{name}.json"))


_queues: Registry[tuple[str, str], StartQueue] = Registry(_new_queue)


def _locked(path: Path) -> int:
    """Open and lock a file, anew if it was removed meanwhile: temporary folders are cleaned up."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_ino == os.stat(path).st_ino:
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _make_private(folder: Path) -> None:
    """
    Make a folder that nobody else may write to; others can write to its parent.

    :raises OSError: there is something else, or somebody else's.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_ours or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder of this user alone")


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None  # new, or its writer was killed
