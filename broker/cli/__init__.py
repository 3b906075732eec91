"""The command line: commands return frozen results, one module prints them, one table knows the exit codes."""
