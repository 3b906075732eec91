"""The config file, and what its settings name."""

import difflib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from broker.config import Config
from broker.doctor.facts import ConfigFile, CredentialsFile, Person, Registration, SecretFile
from broker.doctor.finding import Finding, SetMode, Severity, capital, mendable, quoted
from broker.settings.checks import is_loopback

_NAMES_SHOWN = 3


def invalid(file: ConfigFile) -> Iterator[Finding]:
    """A file that cannot be used; unknown keys are told by `unknown_keys`."""
    if file.fault is not None and not file.unknown:
        yield Finding(
            "config-invalid", Severity.ERROR, file.fault,
            f"Correct it, then run: ccs-broker config check ({_DOCS})", str(file.path),
        )  # fmt: skip


def unknown_keys(file: ConfigFile) -> Iterator[Finding]:
    """Keys no setting has."""
    for key, near in file.unknown.items():
        mend = f"Write {near}, or remove it." if near else f"Remove it; {_DOCS}."
        yield Finding(
            "config-unknown-key", Severity.ERROR, f"There is no setting {key}; until it is corrected nothing starts, and the other checks use the defaults",
            mend, str(file.path),
        )  # fmt: skip


def writable(file: ConfigFile) -> Iterator[Finding]:
    """A file others may change."""
    if not file.exists:
        return
    if not file.mine:
        mend = f"Run: sudo chown $USER {quoted(file.path)}"
        yield Finding(
            "config-writable", Severity.ERROR, "The config file belongs to another user", mend, str(file.path)
        )
    elif file.mode & 0o022:
        yield mendable(
            "config-writable", Severity.ERROR, f"Other users may change the config file (mode {file.mode:04o})",
            SetMode(file.path, 0o600),
        )  # fmt: skip


def readable(file: ConfigFile) -> Iterator[Finding]:
    """Keys others can read."""
    if file.exists and file.mine and file.names_keys and file.mode & 0o044 and not file.mode & 0o022:
        yield mendable(
            "config-readable", Severity.WARNING, f"Other users can read the proxy keys in it (mode {file.mode:04o})",
            SetMode(file.path, 0o600),
        )  # fmt: skip


def provider_settings(fault: str | None, hint: str, file: ConfigFile) -> Iterator[Finding]:
    """A provider's table that makes no sense."""
    if fault is not None:
        yield Finding("provider-settings", Severity.ERROR, fault, hint, str(file.path))


def secret_missing(registrations: Iterable[Registration]) -> Iterator[Finding]:
    """Registrations that cannot be had: an error where logins or the config want one, else good to know."""
    for each in registrations:
        what = f"{each.wanted}: {each.told}" if each.wanted else f"No login can be started yet: {each.told}"
        severity = Severity.ERROR if each.wanted else Severity.INFO
        yield Finding("client-secret-missing", severity, what, each.hint, f"providers.{each.provider}")


def secret_mode(files: Iterable[SecretFile]) -> Iterator[Finding]:
    """Secrets others can read."""
    for each in files:
        yield from _open_to_others("client-secret-mode", each)


def credentials_mode(found: CredentialsFile | None) -> Iterator[Finding]:
    """Registrations and addresses others can read, or change: whoever may, may have refresh tokens sent elsewhere."""
    if found is not None:
        yield from _open_to_others("provider-credentials-mode", found.file)


def credentials_unusable(found: CredentialsFile | None) -> Iterator[Finding]:
    """What of that file is left out."""
    if found is None:
        return
    for warning in found.warnings:
        what = f"{capital(warning)}; that is left out"
        mend = "Correct it as docs/providers.md says."
        yield Finding("provider-credentials", Severity.WARNING, what, mend, str(found.file.path))


def local_keys_mode(file: SecretFile | None) -> Iterator[Finding]:
    """Local keys others could make, for which they are refused; or names and limits they can read, from which no key follows."""
    if file is None:
        return
    if not file.mine or file.mode & 0o022:
        yield from _open_to_others("local-keys-mode", file)
    elif file.mode & 0o077:
        what = f"{file.setting}: other users can read the names and limits of the proxy's keys (mode {file.mode:04o})"
        yield mendable("local-keys-mode", Severity.WARNING, what, SetMode(file.path, 0o600))


def default_key(config: Config, person: Person) -> Iterator[Finding]:
    """The public key where more than one person works."""
    if not config.proxy.internal_key:
        return
    others = ", ".join(person.others[:_NAMES_SHOWN]) + (" ..." if len(person.others) > _NAMES_SHOWN else "")
    mend = "Set proxy.internal_key = false, and keys of your own in proxy.api_keys."
    if person.others:
        yield Finding(
            "default-key", Severity.WARNING,
            f"The proxy takes the public key ccs-internal-managed, and other people have a login here ({others}): "
            "only the kernel's word on who connects keeps them out", mend, "proxy.internal_key",
        )  # fmt: skip
    elif not is_loopback(config.proxy.host):
        yield Finding(
            "default-key", Severity.WARNING,
            f"The proxy takes the public key ccs-internal-managed, and listens on {config.proxy.host}", mend, "proxy.internal_key",
        )  # fmt: skip


def exposed(config: Config) -> Iterator[Finding]:
    """A proxy for the whole network."""
    if not is_loopback(config.proxy.host):
        yield Finding(
            "proxy-exposed", Severity.WARNING, f"The proxy listens on {config.proxy.host}: whatever passes it crosses the network in clear",
            'Set proxy.host = "127.0.0.1", and reach it through ssh -L.', "proxy.host",
        )  # fmt: skip


def unknown_in(tree: Mapping[str, object]) -> dict[str, str | None]:
    """Return the dotted names in a config that no setting has, each with the nearest that exists beside it."""
    return dict(_unknown(tree, Config, ""))


def _open_to_others(id_: str, each: SecretFile) -> Iterator[Finding]:
    if each.mine and each.mode & 0o077:
        what = f"{each.setting}: it is open to other users (mode {each.mode:04o}), so it is refused"
        yield mendable(id_, Severity.ERROR, what, SetMode(each.path, 0o600))
    elif not each.mine:
        what = f"{each.setting}: it belongs to another user, so it is refused"
        yield Finding(id_, Severity.ERROR, what, f"Run: sudo chown $USER {quoted(each.path)}", str(each.path))


def _unknown(tree: Mapping[str, object], table: type[msgspec.Struct], before: str) -> Iterator[tuple[str, str | None]]:
    fields = {field.name: field.type for field in msgspec.structs.fields(table)}
    for key, value in tree.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            yield _shown(before + key), before + near[0] if near else None
            continue
        inner = _tables(fields[key], value, f"{before}{key}.")
        for name, kind, part in inner:
            yield from _unknown(part, kind, name)


def _tables(
    kind: object, value: object, before: str
) -> Iterator[tuple[str, type[msgspec.Struct], Mapping[str, object]]]:
    if not isinstance(value, Mapping):
        return
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield before, kind, value
        return
    arguments = getattr(kind, "__args__", ())
    member = arguments[-1] if arguments else None
    if isinstance(member, type) and issubclass(member, msgspec.Struct):
        for name, part in value.items():
            if isinstance(part, Mapping):
                yield f"{before}{name}.", member, part


def _shown(name: str) -> str:
    return name if name.isprintable() and len(name) <= 80 else ascii(name)[:80]


_DOCS = "docs/config.md lists every setting"
