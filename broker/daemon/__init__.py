"""The daemon: use cases over the store and the refresh engine, the socket server in front of them, and the calls to token endpoints.

Nothing here decides when to refresh (`broker.refresh.plan`) or touches an auth file (`broker.store`).
"""
