"""The bars: what is promised about speed, each with the suite that measures it and what it is measured against. Pure.

Owns: the table of docs/performance.md. A suite asks `of` for the bars of a contest, so that none is measured without its bar nor promised without a suite.
"""

from dataclasses import dataclass

from benchmarks.harness import Bar

DIRECT = "direct"
NGINX = "nginx"
OURS = "ccs-broker"
TO_GEMINI = "openai to gemini"
TO_CLAUDE = "openai to claude"
LITELLM = "litellm"
DAEMON = "daemon"
ONE, TWO = "one worker", "two workers"
PYTHON = "python -c pass"
TOKEN = "ccs-broker token"
PLAIN_LOOP = "plain loop"
FIXED = "nginx fixed answer"


@dataclass(frozen=True, slots=True)
class Row:
    """A promise. `aim` is what would be better still; `note` says what the bar's numbers do not."""

    what: str
    suite: str
    contest: str
    bar: Bar
    aim: str = ""
    note: str = ""


ROWS: tuple[Row, ...] = (
    Row("pass-through, 1 KiB, 1 connection, p50", "proxy_pass", "pass_1", Bar(OURS, "p50", 1.5, NGINX)),
    *(
        row
        for count in (32, 128)
        for row in (
            Row(
                f"pass-through, 1 KiB, {count} connections, requests/s",
                "proxy_pass", f"pass_{count}", Bar(OURS, "rate", 0.5, NGINX), "0.8",
            ),
            Row(
                f"pass-through, 1 KiB, {count} connections, CPU per request",
                "proxy_pass", f"pass_{count}", Bar(OURS, "cpu", 2.0, NGINX), "1.25",
            ),
        )
    ),
    Row("pass-through to a TLS upstream, 32 connections, requests/s", "tls", "tls_32", Bar(OURS, "rate", 0.5, NGINX), "0.8"),
    Row("pass-through, 100 KiB request, requests/s", "large", "large_32", Bar(OURS, "rate", 0.6, NGINX)),
    Row(
        "two workers, requests/s", "workers", "workers_64", Bar(TWO, "rate", 1.6, ONE),
        note="binds where there are more than two cores: generator and upstream need one too",
    ),
    Row("two workers, CPU per request", "workers", "workers_64", Bar(TWO, "cpu", 1.1, ONE), note="binds where two cores are all there is"),
    Row("64 streams, a chunk a millisecond each: added to a chunk's delay, p99", "streams", "streams_64", Bar(OURS, "added p99", 2.0, NGINX)),
    Row("64 streams, a chunk a millisecond each: CPU per chunk", "streams", "streams_64", Bar(OURS, "cpu", 1.5, NGINX)),
    Row("time to first byte under 32 streams, p50", "first_byte", "first_byte_32", Bar(OURS, "first p50", 1.5, NGINX)),
    Row("time to first byte under 32 streams, p99", "first_byte", "first_byte_32", Bar(OURS, "first p99", 1.5, NGINX)),
    *(
        Row(f"{subject}, whole, requests/s", "translated", "translated_32", Bar(subject, "rate", 0.25, OURS))
        for subject in (TO_GEMINI, TO_CLAUDE)
    ),
    *(
        Row(f"{subject}, stream, CPU per chunk", "translated_streams", "translated_streams_16", Bar(subject, "cpu", 2.0, OURS), "1.4")
        for subject in (TO_GEMINI, TO_CLAUDE)
    ),
    *(
        row
        for contest, what in (("litellm_whole", "whole answers"), ("litellm_streams", "streams"))
        for row in (
            Row(f"OpenAI to Gemini, {what}, requests/s", "litellm", contest, Bar(TO_GEMINI, "rate", 50.0, LITELLM)),
            Row(f"OpenAI to Gemini, {what}, CPU per request", "litellm", contest, Bar(TO_GEMINI, "cpu", 0.02, LITELLM)),
        )
    ),
    *(
        Row(f"20 MB image in {way}, translated: peak memory", "image", contest, Bar(OURS, "peak", plus=3.0))
        for way, contest in (("a request", "image_sent"), ("an answer", "image_received"))
    ),
    Row(
        "20 MB image in an answer, translated: first byte out before the last is in", "image", "image_received", Bar(OURS, "early", plus=1.0),
        note="what comes before the image; the image's own event is told when it is whole",
    ),
    Row("1,000 open idle streams, memory each", "idle_streams", "idle_streams", Bar(OURS, "memory", 1.0, NGINX)),
    Row("1,000 open idle streams, wake-ups a second in all", "idle_streams", "idle_streams", Bar(OURS, "wake-ups", plus=2.0)),
    Row("lease over the Unix socket, 32 connections, requests/s", "lease_socket", "lease_socket", Bar(DAEMON, "rate", 0.15, FIXED), "0.6"),
    Row("lease over the Unix socket, 32 connections, p99", "lease_socket", "lease_socket", Bar(DAEMON, "p99", plus=2000.0)),
    Row("leases asked of the daemon for 10,000 proxied requests", "no_lease", "no_lease", Bar(OURS, "leases")),
    Row("`ccs-broker token X`, cold, wall", "cold_cli", "cold_cli", Bar(TOKEN, "wall", 2.5, PYTHON), "2"),
    Row("auth file renamed into place until its lease is served, 1,000 files, p99", "file_to_lease", "file_to_lease", Bar(DAEMON, "p99", plus=20.0)),
    *(
        Row(f"daemon start to ready, {count:,} accounts", "start", f"start_{count}", Bar(DAEMON, "ready", 2.0, PLAIN_LOOP, 300.0))
        for count in (10, 1000, 10_000)
    ),
    Row("idle daemon, 1,000 accounts, memory", "idle_daemon", "idle_daemon", Bar(DAEMON, "memory", plus=60.0)),
    Row("idle daemon, 1,000 accounts, wake-ups a minute beyond due refreshes", "idle_daemon", "idle_daemon", Bar(DAEMON, "wake-ups", plus=2.0)),
    Row("24 hours, 1,000 accounts, simulated clock: memory grown", "day", "day", Bar("engine", "grown", plus=1.0)),
    Row("24 hours, 1,000 accounts: refreshes against the plan", "day", "day", Bar("engine", "refreshes", 1.02, "plan")),
    Row("24 hours, 1,000 accounts: tokens that ended unrenewed", "day", "day", Bar("engine", "missed")),
)  # fmt: skip


def of(contest: str) -> tuple[Bar, ...]:
    """Return the bars of a contest."""
    return tuple(row.bar for row in ROWS if row.contest == contest)
