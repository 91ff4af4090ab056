"""Values that may stand in a field of a message, or may not."""

from typing import Any

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**53,
    1e308,
    "",
    "x",
    "zz" * 16,
    "00" * 16,
    "\ud800",
    [],
    {},
    [[]],
    ["00" * 16] * 300,
]
