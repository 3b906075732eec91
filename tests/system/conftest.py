"""Real processes in a temporary home, as the demo starts them."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest

from broker.cli.demo.stage import Stage
from broker.cli.demo.steps import login
from broker.system import SystemClock

Staged = Callable[..., Coroutine[object, object, Stage]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/system" in item.nodeid:
            item.add_marker(pytest.mark.system)


@asynccontextmanager
async def staged(
    *, config: str = "", lifetime: float = 3600.0, logged_in: bool = True, proxy: bool = True, ahead: bool = True
) -> AsyncIterator[Stage]:
    """A running sandbox, daemon and (where asked) proxy; `config` is appended to the demo's config file.

    Tables already in it (`[refresh]`, `[proxy]`, providers and upstreams) take further keys through `amend`.
    """
    stage = Stage.build(SystemClock())
    try:
        await stage.start_sandbox(lifetime, onboarded=True)
        text = stage.config_file.read_text()
        if ahead:
            text = text.replace("ahead = false", "ahead = true")
        stage.config_file.write_text(amend(text, config))
        await stage.start_daemon()
        if logged_in:
            await login(stage, lambda _: None)
        if proxy:
            await stage.start_proxy()
        yield stage
    finally:
        await stage.close()


def amend(text: str, more: str) -> str:
    """Add the tables of `more` to a config: keys of a table it already has go under that table's head."""
    for part in more.split("\n\n"):
        head, _, keys = part.strip().partition("\n")
        text = text.replace(f"{head}\n", f"{head}\n{keys}\n", 1) if f"{head}\n" in text else f"{text}\n{part}\n"
    return text
