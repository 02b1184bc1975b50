"""The first module that the fork server imports: it ends that server with the first process.

The server notices the end of the first process only when it has imported all that workers need, which takes seconds. Importing
a module is the one thing that multiprocessing lets a program do there. Elsewhere this import does nothing.
"""

import ctypes
import os
import signal

PARENT = "EM_GRANULES_PARENT"  # environment variable with the first process's id, set while the server starts
PR_SET_PDEATHSIG = 1  # of Linux's prctl

if parent := os.environ.pop(PARENT, ""):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it has ended already
        os._exit(1)
