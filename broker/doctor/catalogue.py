"""Every check there is.

Owns: the ids, what each means and how it is mended, as docs/doctor.md repeats them (a test holds the two together). Pure. An id never changes its meaning.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Group(StrEnum):
    """What a check is about; findings are shown by group, in this order."""

    CONFIG = "config"
    AUTH = "auth files"
    STATE = "state"
    SOCKETS = "sockets and daemon"
    PROXY = "proxy"
    LOGINS = "logins"
    OTHERS = "other programs"
    MACHINE = "machine"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `fixes` tells whether `--fix` can mend what it finds, at least at times."""

    id: str
    group: Group
    means: str
    mend: str
    fixes: bool = False


_C, _A, _S, _D, _P = Group.CONFIG, Group.AUTH, Group.STATE, Group.SOCKETS, Group.PROXY
_L, _O, _M, _V = Group.LOGINS, Group.OTHERS, Group.MACHINE, Group.SERVICE

CATALOGUE: Final = (
    Check("config-invalid", _C, "The config file cannot be used; the daemon and the proxy do not start with it.", "Correct the line or key it names."),
    Check("config-unknown-key", _C, "The config file has keys that no setting has.", "Correct or remove them; the nearest setting is named."),
    Check("config-writable", _C, "Other users may change the config file, and with it which programs run (`notify.command`).",
          "`chmod 600` the file.", fixes=True),
    Check("config-readable", _C, "The config file holds proxy keys and other users can read it.", "`chmod 600` the file.", fixes=True),
    Check("provider-settings", _C, "A `[providers.NAME]` table makes no sense.", "Correct it as docs/providers.md says."),
    Check("client-secret-missing", _C, "No client registration was found for a provider that needs one; it says where it was looked for.",
          "Set `client_secret_file` or `client_secret_env`, or install the vendor's own program."),
    Check("client-secret-mode", _C, "A client secret's file can be read by other users; it is refused.", "`chmod 600` the file.", fixes=True),
    Check("provider-credentials-mode", _C, "`provider-credentials.json` can be read or written by other users; it is refused.",
          "`chmod 600` the file.", fixes=True),
    Check("provider-credentials", _C, "Entries of `provider-credentials.json`, or the whole of it, cannot be used and are left out.",
          "Correct it as docs/providers.md says."),
    Check("local-keys-mode", _C, "The file of the proxy's local keys can be written by other users, and is refused; or read by them.",
          "`chmod 600` the file.", fixes=True),
    Check("auth-dir-missing", _A, "The auth directory does not exist.", "It is made by the daemon's first start.", fixes=True),
    Check("auth-dir-mode", _A, "Other users can look into the folder of the logins.", "`chmod 700` the folder.", fixes=True),
    Check("auth-dir-owner", _A, "The folder of the logins belongs to another user.", "`chown` it."),
    Check("auth-dir-unwritable", _A, "The folder of the logins cannot be written: nothing is renewed.",
          "Mend its permissions, or remount its file system."),
    Check("auth-dir-parent", _A, "Other users may write to a folder above the logins, and put another folder in its place.", "`chmod go-w` that folder."),
    Check("auth-file-mode", _A, "Other users can read a login.", "`chmod 600` the file.", fixes=True),
    Check("auth-file-owner", _A, "A login's file belongs to another user; it is refused.", "`chown` it."),
    Check("auth-file-broken", _A, "A file is not JSON, or half written. One written just now is no fault yet.",
          "Restore it, or log in again and remove it."),
    Check("auth-file-unknown-type", _A, "A file is of a `type` that no provider here has; it is left alone.",
          "Describe the provider in the config, or move the file away."),
    Check("auth-file-unusable", _A, "A file is no login: a field is missing or wrong, it is too large, or no regular file.",
          "Correct it, or log in again and remove it."),
    Check("auth-file-duplicate", _A, "Two files are the same login; the newer grant is used.", "Rename the older one so that it no longer ends in `.json`."),
    Check("auth-file-same-token", _A, "Two files hold the same refresh token: renewing one ends the other.",
          "Keep one, and log in anew for the other."),
    Check("auth-file-not-renewable", _A, "A login has no refresh token and has expired, or soon will.", "Log in again."),
    Check("auth-file-sealed", _A, "A file is sealed, and `store.mode` is `plain`: it cannot be read.", 'Set `store.mode = "sealed"`, or log in again.'),
    Check("temporary-files", _A, "Temporary files of processes that are no more; they may hold tokens.", "Remove them; the daemon's start does.", fixes=True),
    Check("broken-copies", _A, "Copies of broken files that were written over.", "Look at them, and remove them."),
    Check("ccs-accounts", _A, "CCS's `accounts.json` is damaged.", "Move it away: CCS makes it anew."),
    Check("state-dir-mode", _S, "Other users can look into the state directory.", "`chmod 700` the folder.", fixes=True),
    Check("state-dir-owner", _S, "The state directory belongs to another user.", "`chown` it."),
    Check("state-dir-unwritable", _S, "The state directory cannot be written.", "Mend its permissions, or remount its file system."),
    Check("state-file-mode", _S, "Other users can read a key or an emergency copy.", "`chmod 600` the file.", fixes=True),
    Check("state-damaged", _S, "`state.db` is no database; it will be made anew.", "Nothing: the daemon's next start moves it aside."),
    Check("seal-key", _S, "The key of the sealed files is not to be had.", "It says what its source lacks."),
    Check("keyring-unusable", _S, "The desktop's keyring holds the key and does not answer.", "Unlock it, or choose another `store.key_source`."),
    Check("unsaved-grants", _S, "Emergency copies: renewed logins that the auth directory refused.",
          "Make the auth directory writable, and run the daemon until they are saved."),
    Check("renewal-interrupted", _S, "A renewal was interrupted, and no daemon is there to bring it to its end.", "Start the daemon."),
    Check("runtime-dir", _D, "`XDG_RUNTIME_DIR` is not set, or names no folder of yours.", "Log in through PAM, or set it to `/run/user/UID`."),
    Check("socket-dir-mode", _D, "Other users can look into the folder of the sockets.", "`chmod 700` the folder.", fixes=True),
    Check("socket-dir-owner", _D, "The folder of the sockets belongs to another user.", "Set `CCS_BROKER_RUNTIME_DIR` to a folder of yours."),
    Check("socket-path", _D, "The path of the sockets is longer than the system allows.", "Set `CCS_BROKER_RUNTIME_DIR` to a shorter folder."),
    Check("socket-stale", _D, "A socket file nobody listens on.", "Remove it; the daemon's start does.", fixes=True),
    Check("socket-blocked", _D, "Something that is no socket, or another user's, is in the place of one.", "Move it away."),
    Check("daemon-down", _D, "No daemon runs: nothing is renewed, no token is served.", "Start it."),
    Check("daemon-silent", _D, "A daemon listens and does not answer.", "Restart it, and look at its log."),
    Check("daemon-version", _D, "The running daemon is of another version than this program.", "Restart it."),
    Check("daemon-config", _D, "The running daemon serves other directories, or in another mode, than the config says.", "Restart it."),
    Check("daemon-elsewhere", _D, "A daemon that cannot be reached from here holds the auth directory.",
          "Use the same `XDG_RUNTIME_DIR` or `CCS_BROKER_RUNTIME_DIR`, or stop it."),
    Check("daemon-problem", _D, "The daemon itself tells of a problem.", "It says which."),
    Check("daemon-unprotected", _D, "A protection the daemon tried does not work here.", "docs/files.md and docs/socket.md say what each is."),
    Check("port-taken", _P, "Another program has the proxy's port; it is named where the system tells.", "Stop it, or set another `proxy.port`."),
    Check("proxy-down", _P, "No proxy runs.", "Start it."),
    Check("proxy-silent", _P, "A program listens on the proxy's port and does not answer.", "Restart it."),
    Check("proxy-version", _P, "The running proxy is of another version than this program.", "Restart it."),
    Check("proxy-detached", _P, "The proxy runs and does not reach the daemon.", "Start it with the same runtime directory as the daemon."),
    Check("default-key", _P, "The public key `ccs-internal-managed` opens the proxy, and other people use this machine.",
          "Set `proxy.internal_key = false` and `proxy.api_keys`."),
    Check("proxy-exposed", _P, "The proxy listens beyond loopback: keys, prompts and answers cross the network in clear.",
          'Set `proxy.host = "127.0.0.1"`, and reach it through ssh.'),
    Check("no-accounts", _L, "There is no login yet.", "Log in."),
    Check("login-needed", _L, "A login is dead: a person must log in again.", "Log in again."),
    Check("login-unsaved", _L, "A renewed login lives in the daemon's memory: storage refuses it.",
          "Make the auth directory writable; do not stop the daemon before."),
    Check("login-troubled", _L, "A login could not be renewed the last time, or its answer was lost.", "It is tried again; the reason is given."),
    Check("provider-unreachable", _L, "A provider's token endpoint does not answer. Only looked at with `--online`.",
          "Mend the network; `ccs-broker network test PROVIDER` says by which way it is reached."),
    Check("outbound-proxy", _L, "An outbound proxy that is set cannot be used: nothing goes where it leads. With `--online` also one that nobody answers at.",
          "Start it, or correct the setting."),
    Check("callback-port", _L, "The fixed port a provider's login comes back to cannot be had; it is said who has it.",
          "Stop that program, or log in with `--no-browser`."),
    Check("other-refresher", _O, "CLIProxyAPI runs and renews the same logins: providers revoke a login that is renewed twice.",
          "Stop it, or give it an auth directory of its own."),
    Check("other-refresher-config", _O, "A config of CLIProxyAPI names the same auth directory: once started it renews the same logins.",
          "Do not start it beside the daemon."),
    Check("shared-login", _O, "Another program's file holds the same refresh token as an auth file: both renew one login.",
          "Log in again in one of the two."),
    Check("linked-file", _O, "The other program's file that an account is linked to is gone, or cannot be written: renewals no longer reach that program.",
          "Log in with that program and import it again, or leave it: the account goes on without."),
    Check("clock-skew", _M, "The clock differs from a provider's by a minute or more, as the daemon saw it at a renewal, or with `--online` now.",
          "Set the clock."),
    Check("clock-behind", _M, "A login was written in the future: the clock was wrong then, or is now.", "Set the clock."),
    Check("network-file-system", _M, "Locks, sockets or logins lie on a network file system, where locks may exclude nobody.",
          "Keep them on a local disk."),
    Check("disk-space", _M, "The disk is full, or nearly (bytes or inodes): nothing is renewed on a full disk.", "Free some."),
    Check("open-files", _M, "A process may open fewer files than the config lets clients connect.", "Raise the limit (`ulimit -n`, `LimitNOFILE=`)."),
    Check("proxy-environment", _M, "`http_proxy` or `all_proxy` would catch requests to the proxy on loopback.", "Add `127.0.0.1,localhost` to `no_proxy`."),
    Check("wrong-user", _M, "It runs as another user than the logins are of (sudo, or a foreign home).", "Run it as yourself."),
    Check("service-program", _V, "A service starts another program than this one, or one that is not there.", "Install the services again."),
    Check("service-outdated", _V, "A service file differs from what this version writes.", "Install the services again."),
    Check("service-disabled", _V, "A service is installed and not enabled: it is gone after the next login.", "Enable it."),
    Check("service-failed", _V, "A service failed.", "Look at its log."),
    Check("service-lingering", _V, "The services stop when you log out.", "`loginctl enable-linger`."),
)  # fmt: skip

IDS: Final = tuple(check.id for check in CATALOGUE)
BY_ID: Final = {check.id: check for check in CATALOGUE}
