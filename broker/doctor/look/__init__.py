"""Looking: files, sockets, processes, the environment. Reads only; what it saw is judged by `broker.doctor.rules`."""
