"""
The browser of the end-to-end tests: Chromium, as the machine has it or as Playwright brings it.

``python -m tests.e2e.chromium`` installs it where it is missing; ``make test`` does that.
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium():
    """Return the path of the machine's Chromium, or None where it has none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def install_chromium():
    """Install Debian's package where that is possible, else Playwright's browser."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        packages = ["chromium", "fonts-dejavu-core"]
        install = ["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", *packages]
        for command in (["apt-get", "update", "--quiet=2"], install):
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


if __name__ == "__main__" and find_chromium() is None:
    print("Installing Chromium for the browser tests (about a minute)")  # noqa: T201
    install_chromium()
