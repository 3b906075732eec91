"""`python -m benchmarks.prepare`: what the suites compare with, installed or built before they run.

nginx and wrk come from the distribution (apt, as root); the C upstream and load generator are compiled into `.bench`; with `BENCH_PEERS=litellm` LiteLLM is
installed into an environment of its own there. What cannot be had is named and left out: the suites that need it say so. It must never install anything
into the environment that is measured.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".bench"
SOURCES = Path(__file__).parent / "c"
PROGRAMS = ("upstream", "loader")
DISTRIBUTED = ("nginx", "wrk")

LITELLM_VERSION = "1.106.2"
_LITELLM = CACHE / f"litellm-{LITELLM_VERSION}"

_FLAGS = ("-O2", "-Wall", "-Wextra")
_APT_SECONDS = 300
_PIP_SECONDS = 900

Say = Callable[[str], None]


def main() -> int:
    """Prepare all; nothing that is missing is an error."""
    wanted = os.environ.get("BENCH_PEERS", "").split(",")
    absent = [*distributed(_say), *compiled(_say), *(litellm(_say) if "litellm" in wanted else ["litellm"])]
    _say(f"not there: {', '.join(absent) or 'nothing'}")
    return 0


def found() -> dict[str, str | None]:
    """Return where every peer is; None for those that are not there. Installs nothing."""
    # Debian's nginx lies where an ordinary user's PATH does not look.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    places = {name: shutil.which(name, path=path) for name in (*DISTRIBUTED, "curl")}
    own = {name: binary(name) for name in PROGRAMS} | {"litellm": _LITELLM / "bin" / "litellm"}
    return places | {name: str(place) if place.exists() else None for name, place in own.items()}


def versions() -> dict[str, str]:
    """Return the versions of the peers that are there."""
    said = {name: _first_line([place, "-v"]) for name, place in found().items() if name in DISTRIBUTED and place}
    numbers = {name: re.search(r"\d+(?:\.\d+)+", line) for name, line in said.items()}
    return {name: match[0] for name, match in numbers.items() if match is not None}


def distributed(say: Say) -> list[str]:
    """Install nginx and wrk where they are missing and can be; return those that are still missing."""
    missing = [name for name in DISTRIBUTED if found()[name] is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {' and '.join(missing)} ...")
        # The package would start nginx as a service of the machine: systemctl(1) then takes it for one that is not running.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            _run(["apt-get", *command], _APT_SECONDS, say, environment)
        missing = [name for name in DISTRIBUTED if found()[name] is None]
    return missing


def compiled(say: Say) -> list[str]:
    """Compile what is not compiled yet; return what could not be."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    CACHE.mkdir(exist_ok=True)
    for name in PROGRAMS:
        if not binary(name).exists() and compiler is not None:
            # Under another name first: one that exists is whole.
            made = binary(name).with_suffix(".new")
            if _run([compiler, *_FLAGS, "-o", str(made), str(SOURCES / f"{name}.c")], _APT_SECONDS, say):
                made.replace(binary(name))
    return [name for name in PROGRAMS if not binary(name).exists()]


def litellm(say: Say) -> list[str]:
    """Install LiteLLM where it is missing; return its name where that did not work."""
    if not (_LITELLM / "bin" / "litellm").exists():
        say(f"installing LiteLLM {LITELLM_VERSION}, which takes some minutes ...")
        made = _run([sys.executable, "-m", "venv", str(_LITELLM)], _PIP_SECONDS, say)
        pip = [str(_LITELLM / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
        if made and not _run([*pip, f"litellm[proxy]=={LITELLM_VERSION}"], _PIP_SECONDS, say):
            shutil.rmtree(_LITELLM)
    return [] if (_LITELLM / "bin" / "litellm").exists() else ["litellm"]


def binary(name: str) -> Path:
    """Return where a C program is, or will be: the name tells its sources, so that a change is compiled anew."""
    text = b"".join((SOURCES / each).read_bytes() for each in ("common.h", f"{name}.c"))
    return CACHE / f"{name}-{hashlib.sha256(text).hexdigest()[:12]}"


def _first_line(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # wrk -v ends with code 1
    return (done.stdout + done.stderr).partition("\n")[0]


def _run(command: Sequence[str], seconds: float, say: Say, environment: dict[str, str] | None = None) -> bool:
    try:
        subprocess.run(
            command, env=environment, timeout=seconds, check=True, stdin=subprocess.DEVNULL, capture_output=True
        )
    except subprocess.CalledProcessError as error:
        say(f"{command[0]} failed: {error.stderr.decode(errors='replace')[-800:]}")
        return False
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"{command[0]} failed: {error}")
        return False
    return True


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
