"""
``make demo``: start pipelines of an emulated EnOS from a real Airflow and show what happens.
``make play``: leave both running, to try the web interface, until Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from airflow_provider_enos.emulator.server import Emulator
from demo.local_airflow import AirflowDidNotStartError, LocalAirflow

DAGS = Path(__file__).parent.parent / "example_dags"
DEMO_DAG = "start_one_pipeline"

#: As many as the example DAGs name, and some to play with.
PIPELINES = 14

#: Of the example maintenance_window.
OTHER_ORG, OTHER_PIPELINES = "o16017683199242", 3

_begun = time.monotonic()


def say(line: str) -> None:
    """Print one line with the time since the beginning."""
    print(f"[{time.monotonic() - _begun:5.1f} s] {line}", flush=True)


def main() -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("demo", "play"), default="demo")
    what = parser.parse_args().what
    # Ctrl-C and SIGTERM end it alike, through the clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="enos-demo-") as folder:
            return _run(Path(folder), stay=what == "play")
    except AirflowDidNotStartError as error:
        say(f"Airflow did not start: {error}")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 0 if what == "play" else 130


def _run(folder: Path, *, stay: bool) -> int:
    say("starting the EnOS emulator")
    with Emulator(pipelines=PIPELINES, start_seconds=3.0) as enos:
        enos.add_organization(OTHER_ORG, pipelines=OTHER_PIPELINES)
        say(f"EnOS emulator on {enos.url}: organization {enos.org_id}, {PIPELINES} pipelines")
        airflow = LocalAirflow(
            folder / "airflow", DAGS, connections={"enos_default": enos.connection}, report=say
        )
        with airflow:
            say(f"Airflow on {airflow.url}; waiting for the example DAGs")
            airflow.wait_for_dags()
            say(f"triggering DAG {DEMO_DAG} (those with a schedule run by themselves)")
            run_id = airflow.trigger(DEMO_DAG)
            enos.wait_for_request("start", timeout=120)
            say("EnOS has got the start request; the task is waiting in the triggerer")
            state = airflow.wait_for_run(DEMO_DAG, run_id)
            say(f"DAG run {state}")
            for task in airflow.task_instances(DEMO_DAG, run_id):
                if task["task_id"] == "start":
                    say(f"task 'start' returned {airflow.result(DEMO_DAG, run_id, 'start')}")
            _show_pipelines(enos)
            if stay:
                say(f"Open {airflow.url} in a browser (no password). Ctrl-C ends it.")
                airflow.wait_for_processes()
            else:
                print(
                    "\nThe same in the browser: make play, then open the address that it prints, "
                    f"Dags > {DEMO_DAG}."
                )
    return 0 if state == "success" else 1


def _show_pipelines(enos: Emulator) -> None:
    print(f"\nPipelines of organization {enos.org_id}, as EnOS shows them:\n")
    print(f"  {'pipeline ID':36}  {'status':9}  starts accepted")
    for pipeline_id in enos.pipeline_ids:
        row = enos.pipeline(pipeline_id)
        print(f"  {pipeline_id:36}  {row.status:9}  {row.starts_accepted}")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
