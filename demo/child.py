"""Run another program, which the kernel kills when the parent of this process ends for any reason.

Started as ``python child.py PARENT_ID PROGRAM ARGUMENTS...``. A hook between fork and exec would do the same, but code
that runs there can deadlock. Imports almost nothing, because the start of each process waits for this module.
"""

import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the signal, check that the parent still runs, and execute the program."""
    parent, *command = sys.argv[1:]
    with suppress(ImportError, OSError, AttributeError):  # not Linux: the demo still ends the processes that it started
        import ctypes  # noqa: PLC0415 - not every Python has it

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("The demo ended before this process began.")
    os.execv(command[0], command)  # noqa: S606 - the demo names the program, without a shell


if __name__ == "__main__":
    main()
