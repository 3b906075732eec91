"""Outbound connections of both programs: what the settings are, and tunnels through proxies.

Which way a connection takes is decided in `broker.model.network`.
"""
