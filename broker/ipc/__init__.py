"""The socket contract: what both processes agree on, and the clients that speak it.

Loads nothing but `broker.model`: the daemon, the proxy and the command line all import it.
"""
