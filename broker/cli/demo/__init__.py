"""`ccs-broker demo`: the whole product at work in a temporary home, against the loopback sandbox.

Real sockets, files, processes and a real OAuth exchange; nothing here stands in for a part of the product.
"""
