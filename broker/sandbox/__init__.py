"""An OAuth server and an upstream on loopback: the honest fake that the demo, users' tests and our own tests talk to.

Owns: behaviour of the other side (grants, rotation, reuse detection, faults, answers). It gives no security and must never be
reachable from outside the machine. See docs/sandbox.md.
"""
