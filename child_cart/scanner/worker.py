"""The process that decodes pictures: untrusted bytes meet large image libraries here, and nowhere else.

It reads requests from standard input and writes answers, one line of JSON each, to standard output; ``reader.py`` is
the other end. It ends with its input, or when it has been idle for a while.
"""

from __future__ import annotations

import json
import os
import select
import struct
import sys
from typing import Final

from .decode import decoder, texts_in
from .picture import PictureError, grey

REQUEST: Final = struct.Struct(">?HHI")
"""Thorough; width and height of grey pixels (0 by 0 for the bytes of a picture); number of bytes that follow."""
IDLE_S: Final = 60.0
NICENESS: Final = 10
"""Below the cart's own process: on a machine with one core, the shop comes first."""


def main() -> None:
    """Answer requests until there are no more."""
    os.nice(NICENESS)
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    while select.select([incoming], [], [], IDLE_S)[0]:
        head = incoming.read(REQUEST.size)
        if len(head) < REQUEST.size:
            return
        thorough, width, height, count = REQUEST.unpack(head)
        answer = json.dumps(_answer(incoming.read(count), (width, height), thorough)).encode()
        outgoing.write(answer + b"\n")
        outgoing.flush()


def _answer(data: bytes, size: tuple[int, int], thorough: bool) -> dict[str, object]:
    from PIL import Image

    found = decoder()
    if found is None:
        return {"texts": []}  # the cart checks before it asks
    try:
        picture = Image.frombytes("L", size, data) if size != (0, 0) else grey(data)
    except PictureError as error:
        return {"refused": str(error)}
    return {"texts": texts_in(picture, found, thorough)}


if __name__ == "__main__":
    main()
