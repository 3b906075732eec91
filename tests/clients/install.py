"""Installs the clients of the table, each into a folder of its own, from nothing. What is whole already is left alone."""

import shutil
import subprocess
import sys
import venv

from tests.clients.table import CACHE, LEAST_NODE, PROGRAMS, SDKS, Program, Sdk


def missing_node() -> str | None:
    """Say why programs from npm cannot be installed and run; None where they can."""
    wanted = f"install Node.js {LEAST_NODE} or newer with npm (Debian: apt install nodejs npm)"
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            return f"there is no {tool}: {wanted}"
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = said.removeprefix("v").partition(".")[0]
    return None if major.isdigit() and int(major) >= LEAST_NODE else f"node is {said or 'broken'}: {wanted}"


def install() -> None:
    """Install what is not there yet."""
    CACHE.mkdir(exist_ok=True)
    for sdk in SDKS:
        _once(sdk)
    why = missing_node()
    if why is not None:
        print(f"Programs from npm are skipped: {why}", flush=True)
        return
    for program in PROGRAMS:
        _once(program)


def ready(client: Program | Sdk) -> bool:
    """Tell whether a client was installed to the end."""
    return (client.folder / ".whole").exists()


def _once(client: Program | Sdk) -> None:
    if ready(client):
        return
    print(f"Installing {client.name} {client.version} ...", flush=True)
    shutil.rmtree(client.folder, ignore_errors=True)
    if isinstance(client, Program):
        client.folder.mkdir()
        _run("npm", "install", "--prefix", str(client.folder), "--no-audit", "--no-fund", "--loglevel=error",
             *client.options, f"{client.package}@{client.version}")  # fmt: skip
    else:
        venv.create(client.folder, with_pip=True)
        _run(
            str(client.python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            f"{client.package}=={client.version}",
        )
    (client.folder / ".whole").touch()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    install()
