"""ccs-broker: one owner for the OAuth logins of AI command-line tools.

Two programs share this package and nothing but words and the socket contract: a daemon that owns secrets
and a proxy that owns traffic. docs/architecture.md is the map; tests/architecture holds the code to it.
"""

__version__ = "0.1.0"
