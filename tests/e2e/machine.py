"""
What the end-to-end tests need of the machine: a browser and PostgreSQL.

``python -m tests.e2e.machine`` installs what is missing; ``make test`` does that first.
"""

import os
import shutil
import subprocess
import sys

from demo.postgres import NoPostgresError, find_program

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_chromium():
    """Return the path of the machine's Chromium, or None where it has none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def has_postgres():
    try:
        return bool(find_program("pg_ctl"))
    except NoPostgresError:
        return False


def install(*packages):
    """Install packages of Debian."""
    print(f"Installing {' '.join(packages)} for the end-to-end tests (about a minute)")  # noqa: T201
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", *packages]
    for one in (["apt-get", "update", "--quiet=2"], command):
        subprocess.run(one, env=environment, check=True, stdout=subprocess.DEVNULL)


def prepare():
    """
    Install what is missing.

    :raises SystemExit: PostgreSQL is missing, and only an administrator can install it.
    """
    is_administrator = bool(shutil.which("apt-get")) and os.geteuid() == 0
    if not has_postgres():
        if not is_administrator:
            sys.exit("PostgreSQL is missing, please install it (Debian: apt install postgresql).")
        install("postgresql")
    if find_chromium() is None:
        if is_administrator:
            install("chromium", "fonts-dejavu-core")
        else:
            subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


if __name__ == "__main__":
    prepare()
