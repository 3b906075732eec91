"""Where installed programs lie: turning a glob with `~`, `{npm-root}` or `{path}` into files.

Owns: the folders in which npm, Homebrew, nvm and their kin put global packages. Reads directory names only.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from broker.paths import home

Env = Mapping[str, str]

NPM_ROOT = "{npm-root}"
SEARCH_PATH = "{path}"

_IN_HOME = (
    ".npm-global/lib/node_modules",
    ".local/lib/node_modules",
    ".nvm/versions/node/*/lib/node_modules",
    ".volta/tools/image/packages/*/lib/node_modules",
    ".local/share/fnm/node-versions/*/installation/lib/node_modules",
    ".asdf/installs/nodejs/*/lib/node_modules",
    ".local/share/mise/installs/node/*/lib/node_modules",
    ".bun/install/global/node_modules",
    ".local/share/pnpm/global/*/node_modules",
)
_ON_SYSTEM = (
    "/usr/local/lib/node_modules",
    "/usr/lib/node_modules",
    "/opt/homebrew/lib/node_modules",
    "/opt/homebrew/opt/gemini-cli/libexec/lib/node_modules",
    "/home/linuxbrew/.linuxbrew/lib/node_modules",
    "/home/linuxbrew/.linuxbrew/opt/gemini-cli/libexec/lib/node_modules",
    "/usr/local/opt/gemini-cli/libexec/lib/node_modules",
)
_MAC_IN_HOME = ("Library/pnpm/global/*/node_modules",)


def npm_roots(env: Env, system: tuple[str, ...] = _ON_SYSTEM) -> list[Path]:
    """Return the folders of global npm packages that exist, the configured ones first."""
    prefixes = [
        env[name] for name in ("NPM_CONFIG_PREFIX", "npm_config_prefix", "PREFIX") if env.get(name, "").startswith("/")
    ]
    under = home(env)
    found = [
        *(Path(prefix) / "lib" / "node_modules" for prefix in prefixes),
        *_beside_programs(env),
        *(
            path
            for pattern in (*_IN_HOME, *(_MAC_IN_HOME if sys.platform == "darwin" else ()))
            for path in sorted(under.glob(pattern))
        ),
        *(Path(path) for path in system),
    ]
    return [path for path in dict.fromkeys(found) if path.is_dir()]


def expand(pattern: str, env: Env, roots: list[Path]) -> Iterator[Path]:
    """Yield the files that match a pattern, those of one root sorted."""
    if pattern.startswith(NPM_ROOT + "/"):
        for root in roots:
            yield from sorted(path for path in root.glob(pattern[len(NPM_ROOT) + 1 :]) if path.is_file())
    elif pattern.startswith(SEARCH_PATH + "/"):
        found = shutil.which(pattern[len(SEARCH_PATH) + 1 :], path=env.get("PATH", ""))
        yield from (Path(found).resolve(),) if found else ()
    elif pattern.startswith("~/"):
        yield from sorted(path for path in home(env).glob(pattern[2:]) if path.is_file())
    else:
        path = Path(pattern)
        yield from sorted(p for p in Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))) if p.is_file())


def _beside_programs(env: Env) -> Iterator[Path]:
    """Yield the `node_modules` folder a `gemini` on the PATH comes from, wherever its package manager put it."""
    program = shutil.which("gemini", path=env.get("PATH", ""))
    if program is None:
        return
    for folder in Path(program).resolve().parents:
        if folder.name == "node_modules":
            yield folder
