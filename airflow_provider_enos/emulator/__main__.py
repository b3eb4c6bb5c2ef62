"""
Run the emulator by itself: ``python -m airflow_provider_enos.emulator``.

It prints its address and the connection to copy, and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_enos.emulator.server import (
    DEFAULT_ACCESS_KEY,
    DEFAULT_ORG_ID,
    DEFAULT_SECRET_KEY,
    Emulator,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal comes; wrong options end it with argparse's error and status 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    org_ids = list(dict.fromkeys(options.org or [DEFAULT_ORG_ID]))
    try:
        enos = Emulator(
            pipelines=options.pipelines,
            org_id=org_ids[0],
            access_key=options.access_key,
            secret_key=options.secret_key,
            start_seconds=options.start_seconds,
            lock_seconds=options.lock_seconds,
            host=options.host,
            port=options.port,
            allow_remote=options.allow_remote,
            state_path=options.state,
        )
        for org_id in org_ids:
            if org_id not in enos.org_ids:
                enos.add_organization(org_id, options.pipelines)
        enos.start()
    except (ValueError, KeyError, OSError) as error:
        parser.error(str(error))
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    organizations = _counted(len(enos.org_ids), "organization")
    pipelines = _counted(len(enos.pipelines()), "pipeline")
    sys.stdout.write(
        f"EnOS emulator on {enos.url} ({organizations}, {pipelines})\n"
        f"export AIRFLOW_CONN_ENOS_DEFAULT={shlex.quote(enos.connection_json)}\n"
    )
    sys.stdout.flush()
    stopping.wait()
    enos.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_enos.emulator",
        description="A faithful EnOS Stream Processing service on this machine.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on [%(default)s]")
    add("--port", type=_port, default=0, help="port to listen on [0: a free one]")
    add("--allow-remote", action="store_true", help="let --host be reached from other machines")
    add("--org", action="append", metavar="ID", help=f"organization; repeatable [{DEFAULT_ORG_ID}]")
    add("--pipelines", type=_count, default=3, help="pipelines per organization [%(default)s]")
    add(
        "--start-seconds",
        type=_seconds_or_none,
        default=5.0,
        help="from start to RUNNING; none: until DELETE /_emulator/pipelines/ID/transition "
        "[%(default)s]",
    )
    add("--lock-seconds", type=_seconds, help="how long a start keeps others out [as long]")
    add("--state", type=Path, metavar="FILE", help="JSON file to go on from and to keep up to date")
    add("--access-key", default=DEFAULT_ACCESS_KEY, help="of the application [an invented one]")
    add("--secret-key", default=DEFAULT_SECRET_KEY, help="of the application [an invented one]")
    return parser


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is not between 0 and 65535")
    return port


def _count(text: str) -> int:
    if (count := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{count} is negative")
    return count


def _seconds(text: str) -> float:
    if not 0 <= (seconds := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a time in seconds")
    return seconds


def _seconds_or_none(text: str) -> float | None:
    return None if text == "none" else _seconds(text)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    main()
