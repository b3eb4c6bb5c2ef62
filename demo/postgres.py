"""A throw-away PostgreSQL for a local Airflow that has much to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: PostgreSQL refuses to run as root, and this user cannot enter root's folders.
USER, FOLDER = "postgres", "/tmp"


class NoPostgresError(Exception):
    """There is no PostgreSQL on this machine."""


@contextmanager
def running_postgres() -> Iterator[str]:
    """
    Run one on a socket of its own and yield its address for SQLAlchemy.

    :raises NoPostgresError: there is no PostgreSQL on this machine.
    """
    with tempfile.TemporaryDirectory(prefix="enos-postgres-", dir=FOLDER) as folder:
        if os.getuid() == 0:
            shutil.chown(folder, USER)
        data = f"{folder}/data"
        _run("initdb", "-D", data, "-U", USER, "-A", "trust", "--no-sync")
        options = f"-c listen_addresses= -c fsync=off -c max_connections=200 -k {folder}"
        _run("pg_ctl", "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql+psycopg2://{USER}@/postgres?host={folder}"
        finally:
            _run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def find_program(name: str) -> str:
    """
    Return the path of one of PostgreSQL's programs; Debian keeps them off the path.

    :raises NoPostgresError: it is not on this machine.
    """
    places = [os.environ.get("PATH", ""), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    path = shutil.which(name, path=os.pathsep.join(places))
    if path is None:
        raise NoPostgresError(f"{name} is not there: install PostgreSQL (Debian: postgresql)")
    return path


def _run(name: str, *arguments: str) -> None:
    command = [find_program(name), *arguments]
    if os.getuid() == 0:
        command = ["runuser", "-u", USER, "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
