"""The data plane: takes clients' requests, picks an account, borrows its token, passes bytes or translates them, says what happened.

Pure here: `routes`, `choose`, `attempts`, `headers`, `models`, `access`, `failures`, `wire.heads`, `upstreams`. The rest moves bytes.
It must never reach store, refresh, login, daemon, oauth or providers: it sees leases, never the safe.
"""
