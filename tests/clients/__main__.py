"""`python -m tests.clients`: installs the clients, then runs their tests where nothing but loopback is reached, if this machine lets us make such a place."""

import os
import shutil
import subprocess
import sys

from tests.clients.install import install

_ALONE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def main() -> None:
    install()
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "clients",
        "-n",
        "2",
        "--dist",
        "worksteal",
        "tests/clients",
        *sys.argv[1:],
    ]
    if _can_be_alone():
        os.execvp(_ALONE[0], [*_ALONE, *tests])
    print("No network namespace can be made here: clients are kept at home by their own settings only.", flush=True)
    os.execv(tests[0], tests)


def _can_be_alone() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main()
