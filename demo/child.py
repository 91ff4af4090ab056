"""Become another program that the kernel ends when this one's parent ends, however that ends.

Started as ``python child.py PARENT_ID PROGRAM ARGUMENTS...``. A hook between fork and exec would do the same, but code
that runs there can deadlock. Imports next to nothing, because each start waits for it.
"""

import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the signal, make sure that the parent still lives, and become the program."""
    parent, *command = sys.argv[1:]
    with suppress(ImportError, OSError, AttributeError):  # not Linux: the demo still ends what it has started itself
        import ctypes  # noqa: PLC0415 - not on every Python

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("The demo ended before this process began.")
    os.execv(command[0], command)  # noqa: S606 - the demo names the program, without a shell


if __name__ == "__main__":
    main()
