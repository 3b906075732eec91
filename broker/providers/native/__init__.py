"""The login files of other programs: one module a program, each reading its own format and writing a renewed grant back into it.

`base` has what they share, `table` lists them.
"""
