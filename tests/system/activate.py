#!/usr/bin/env python3
"""What systemd does for a socket unit: activate.py FD,FD... NAME:NAME... COMMAND [ARGUMENT]...

The descriptors become 3, 4 ... of the command, which takes this process's place."""
import fcntl
import os
import sys

descriptors = [int(text) for text in sys.argv[1].split(",") if text]
aside = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in descriptors]
for at, descriptor in enumerate(aside):
    os.dup2(descriptor, 3 + at)
    os.close(descriptor)
os.environ.update(LISTEN_PID=os.environ.get("TEST_LISTEN_PID", str(os.getpid())), LISTEN_FDS=str(len(aside)),
                  LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
