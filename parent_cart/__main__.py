"""``python -m parent_cart``, and the command ``parent-cart``."""

import sys


def start() -> int:
    """Run the bridge; return the process's exit status."""
    try:
        from .main import main  # noqa: PLC0415 - what it needs may be missing, and that is said in a sentence
    except ModuleNotFoundError as missing:
        print(
            f"parent-cart: the package {missing.name} is not installed. "
            "Install all that a bridge needs: pip install -r parent_cart/requirements.txt, or make install.",
            file=sys.stderr,
        )
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(start())
