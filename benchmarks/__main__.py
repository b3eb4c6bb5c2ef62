"""
``make bench``: measure, print the tables, and write them where the README quotes them.

``python -m benchmarks airflow deferrable`` measures one way, ``python -m benchmarks in_process 0``
one fleet; nothing is written then.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks import airflow, in_process

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- make bench writes this: -->\n", "<!-- until here -->\n"

WAYS = {
    "deferrable": "`StartPipelineOperator`, deferrable, mapped",
    "two_triggerers": "the same with two triggerers",
    "start_from_trigger": "`StartPipelineOperator`, `start_from_trigger`",
    "sync": "`StartPipelineOperator`, on workers, mapped",
    "http_retries": "`HttpOperator`, 20 retries, exponential back-off",
    "http_tenacity": "`HttpOperator`, tenacity `retry_args`",
    "loop_in_a_task": "`@task` with a loop, every 1.5 s",
    "pool_of_one_slot": "the loop in a pool of one slot",
}


def airflow_table(ways: Iterable[str]) -> Iterable[str]:
    """Rows of Markdown, as they are measured."""
    yield (
        "| 50 starts of 1 s each | started | green | tries | makespan / ideal "
        "| start requests each | list, token requests | worker-seconds | triggerer MB |"
    )
    yield "| --- |" + " --: |" * 8
    for row in airflow.measured(list(ways)):
        it = row.figures
        yield (
            f"| {WAYS[row.way]} | {it.started} | {row.green} | {row.tries} | {it.makespan:.2f} "
            f"| {it.starts_each:.1f} | {it.lists}, {it.tokens} | {row.worker_seconds:.0f} "
            f"| {row.triggerer_mb:.0f} |"
        )


def in_process_table(cases: Iterable[in_process.Case]) -> Iterable[str]:
    """Rows of Markdown, as they are measured."""
    yield (
        "| fleet on one host | started | makespan / ideal | worst organization "
        "| start requests each | list, token requests | kB, CPU ms each | loop lag p99 ms |"
    )
    yield "| --- |" + " --: |" * 7
    for case in cases:
        it, took = in_process.run(case)
        starts = f"{it.makespan:.3f} | {it.worst_makespan:.3f} | {it.starts_each:.2f}"
        on_loop = [one for one in took if "kB_each" in one]
        costs = " | "
        if on_loop:
            kilobytes = max(one["kB_each"] for one in on_loop)
            milliseconds = max(one["cpu_ms_each"] for one in on_loop)
            lag = max(one["lag_p99_ms"] for one in on_loop)
            costs = f"{kilobytes:.0f}, {milliseconds:.0f} | {lag:.1f}"
        yield (
            f"| {case} | {it.started or ''} | {starts if it.started else ' | | '} "
            f"| {it.lists}, {it.tokens} | {costs} |"
        )


def printed(rows: Iterable[str]) -> str:
    """Print rows as they come and return them as one text."""
    text = ""
    for row in rows:
        print(row, flush=True)
        text += row + "\n"
    return text


def main() -> None:
    """Measure all, or what the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parts = parser.add_subparsers(dest="part")
    parts.add_parser("airflow").add_argument("ways", nargs="*", metavar="way", help=", ".join(WAYS))
    fleets = range(len(in_process.CASES))
    parts.add_parser("in_process").add_argument(
        "fleets", nargs="+", type=int, choices=fleets, metavar=f"0..{fleets[-1]}"
    )
    given = parser.parse_args()
    # As choices= they would refuse the empty list, which means all.
    if unknown := set(getattr(given, "ways", ())) - set(WAYS):
        parser.error(f"no such way: {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")

    # Ctrl-C and SIGTERM end it alike, through the clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    match given.part:
        case "airflow":
            printed(airflow_table(given.ways or WAYS))
        case "in_process":
            printed(in_process_table(in_process.CASES[number] for number in given.fleets))
        case _:
            before, begin, rest = README.read_text().partition(BEGIN)
            _, end, after = rest.partition(END)
            if not (begin and end):
                sys.exit(f"{README} has no place for the tables: {BEGIN}{END}")
            tables = [airflow_table(WAYS), in_process_table(in_process.CASES)]
            text = "\n".join(map(printed, tables))
            README.write_text(before + begin + text + end + after)


if __name__ == "__main__":
    main()
