"""What a printed page shows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.skip_loudly import skip_loudly


def text_of(pdf: bytes, folder: Path) -> str:
    """Return the text that a PDF shows, line by line."""
    if shutil.which("gs") is None:
        skip_loudly("the text of printed pages", "there is no gs: sudo apt install ghostscript")
    path = folder / "printed.pdf"
    path.write_bytes(pdf)
    command = ["gs", "-q", "-dSAFER", "-dNOPAUSE", "-dBATCH", "-sDEVICE=txtwrite", "-sOutputFile=-", str(path)]
    return subprocess.check_output(command, text=True)
