"""Formats: one neutral model in the middle, one codec a format around it.

Pure: bytes and values in, bytes and values out. Clock readings and ids come in as arguments (`exchange.Ids`). It must never know a vendor's
URL or header (that is `proxy/upstreams`) nor an account (that is the daemon's).
"""
