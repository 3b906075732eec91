"""`make fuzz`: feeds the readers of foreign bytes what comes of the corpus by change, guided by which lines that reaches.

    python -m tests.fuzz [MINUTES] [TARGET...]     (10 minutes, shared by all targets, if nothing is told)

Needs atheris. What breaks a promise is written to `.fuzz/`, with what else was found worth keeping; a target's first fault ends its turn. A finding
becomes a file in tests/corpus/framing/TARGET, which every test run replays (tests/fuzz/test_corpus.py).
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "corpus" / "framing"
KEPT = ROOT / ".fuzz"
MAX_BYTES = 2048


def main(args: list[str]) -> int:
    if args[:1] == ["--one"]:
        return _fuzz(args[1], args[2:])
    names = sorted(each.name for each in CORPUS.iterdir())
    minutes = float(args.pop(0)) if args and args[0].replace(".", "", 1).isdigit() else 10.0
    unknown = [name for name in args if name not in names]
    if unknown:
        print(f"no such target: {', '.join(unknown)}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    chosen = args or names
    # The two that read HTTP get three parts of the time, as most depends on them.
    shares = {name: 3 if name in ("client", "server") else 1 for name in chosen}
    failed = []
    for name in chosen:
        seconds = max(1, round(minutes * 60 * shares[name] / sum(shares.values())))
        print(f"--- {name}: {seconds} s", flush=True)
        if _turn(name, seconds):
            failed.append(name)
    print(f"faults: {', '.join(failed)} (see {KEPT})" if failed else "no fault found")
    return bool(failed)


def _turn(name: str, seconds: int) -> int:
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-verbosity=1",
    ]
    options += [
        "-print_final_stats=1",
        f"-artifact_prefix={KEPT}/{name}-",
        f"-dict={Path(__file__).parent / 'words.dict'}",
    ]
    told = [sys.executable, "-m", "tests.fuzz", "--one", name, *options, str(kept), str(CORPUS / name)]
    return subprocess.run(told, cwd=ROOT, check=False).returncode


def _fuzz(name: str, options: list[str]) -> int:
    import atheris

    # Counted is what lies in the program; the rest of what is imported would only slow things down.
    with atheris.instrument_imports(include=["broker.proxy.wire", "broker.translate", "broker.proxy.headers"]):
        from tests.fuzz.targets import TARGETS

    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
