"""A throw-away PostgreSQL for the Airflow that is measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: PostgreSQL refuses to run as root.
USER = "postgres"


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """
    Run one on a socket in ``folder`` and yield its address for SQLAlchemy.

    :raises SystemExit: there is no PostgreSQL on this machine.
    """
    data = folder / "data"
    folder.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, USER)
        folder.parent.chmod(0o755)
    _run("initdb", "-D", str(data), "-U", USER, "-A", "trust", "--no-sync")
    options = f"-c listen_addresses= -c fsync=off -c max_connections=200 -k {folder}"
    _run("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql+psycopg2://{USER}@/postgres?host={folder}"
    finally:
        _run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


def _run(program: str, *arguments: str) -> None:
    places = [os.environ.get("PATH", ""), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    path = shutil.which(program, path=os.pathsep.join(places))
    if path is None:
        sys.exit(f"{program} is not there: install PostgreSQL (Debian's package postgresql)")
    command = [path, *arguments]
    if os.getuid() == 0:
        command = ["runuser", "-u", USER, "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
