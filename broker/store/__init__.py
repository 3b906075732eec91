"""The auth directory: the only room that touches auth files.

`broker.store.base` is the door: everything outside this room asks a `Store`. Behind it, pure modules (codec, seal) decide and shells (files, lock,
journal, watch, state) act.
"""
