"""HTTP/1.1 on both sides: llhttp frames it, asyncio protocols carry it, and nothing is passed on that could be read in two ways.

This package knows HTTP and nothing above it: no account, dialect or setting.
"""
