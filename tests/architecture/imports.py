"""The import graph of broker/, read from the source: also imports inside functions, and under TYPE_CHECKING."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "broker"


@cache
def modules() -> dict[str, Path]:
    """Every module of broker/ by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """The dotted names a module imports, of broker modules as precisely as they are named."""
    named: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            named.update(
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules() else base for alias in node.names
            )
    return frozenset(named)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    is_package = modules()[module].name == "__init__.py"
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def room(module: str) -> str:
    """`broker.store.files` is in room `store`; `broker.config` is its own room."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def is_pure(module: str) -> bool:
    return any(module == pure or module.startswith(pure + ".") for pure in PURE)


def reach(start: str) -> dict[str, list[str]]:
    """Every broker module `start` reaches, with the chain that leads there."""
    chains = {start: [start]}
    left = [start]
    while left:
        here = left.pop()
        for name in imports(here):
            if name in modules() and name not in chains:
                chains[name] = [*chains[here], name]
                left.append(name)
    return chains


# Rooms that are pure as a whole, and pure modules in other rooms.
PURE = (
    "broker.settings.changes",
    "broker.settings.checks",
    "broker.settings.effective",
    "broker.settings.lines",
    "broker.settings.refusal",
    "broker.settings.shape",
    "broker.model",
    "broker.network.settings",
    "broker.oauth",
    "broker.providers",
    "broker.translate",
    "broker.ipc.config_view",
    "broker.ipc.schema",
    "broker.ipc.network_schema",
    "broker.ipc.operations",
    "broker.ipc.openapi",
    "broker.ipc.sse",
    "broker.observe.redact",
    "broker.doctor.catalogue",
    "broker.doctor.facts",
    "broker.doctor.finding",
    "broker.doctor.rules",
    "broker.daemon.cooldowns",
    "broker.daemon.hub",
    "broker.daemon.known_quotas",
    "broker.daemon.refreshes",
    "broker.daemon.views",
    "broker.store.base",
    "broker.store.codec",
    "broker.store.link",
    "broker.store.origin",
    "broker.store.reading",
    "broker.store.rotation",
    "broker.store.seal",
    "broker.store.table",
    "broker.refresh.backoff",
    "broker.refresh.grant",
    "broker.refresh.incidents",
    "broker.refresh.life",
    "broker.refresh.outcome",
    "broker.refresh.pace",
    "broker.refresh.plan",
    "broker.proxy.access",
    "broker.proxy.attempts",
    "broker.proxy.pages",
    "broker.proxy.relays",
    "broker.proxy.wire.heads",
    "broker.proxy.wire.known",
    "broker.proxy.asking",
    "broker.proxy.context",
    "broker.proxy.outgoing",
    "broker.proxy.refused",
    "broker.proxy.translation",
    "broker.proxy.works",
    "broker.proxy.making",
    "broker.proxy.works_embeddings",
    "broker.proxy.works_images",
    "broker.proxy.works_compact",
    "broker.proxy.choose",
    "broker.proxy.naming",
    "broker.proxy.policies",
    "broker.proxy.session",
    "broker.proxy.headers",
    "broker.proxy.models",
    "broker.proxy.catalog",
    "broker.proxy.learnt",
    "broker.proxy.codex_models",
    "broker.proxy.shown",
    "broker.proxy.keys",
    "broker.proxy.networks",
    "broker.proxy.routes",
    "broker.proxy.reqlog.capture",
    "broker.proxy.reqlog.cutting",
    "broker.proxy.reqlog.entry",
    "broker.proxy.reqlog.masking",
    "broker.proxy.usage_limits",
    "broker.proxy.usage_table",
    *(
        f"broker.sandbox.{name}"
        for name in (
            "answers",
            "code_assist",
            "companions",
            "config_text",
            "devices",
            "documents",
            "faults",
            "gemini_request",
            "grants",
            "models",
            "png",
            "rpc",
            "settings",
            "stats",
            "world",
        )
    ),
    "broker.service.units",
    "broker.proxy.upstreams",
    "broker.proxy.failures",
    "broker.proxy.verdict",
)
