"""``python -m child_cart``, and the command ``child-cart``."""

import sys


def start() -> int:
    """Run the cart; return the process's exit status."""
    try:
        from .main import main  # noqa: PLC0415 - what it needs may be missing, and that is said in a sentence
    except ModuleNotFoundError as missing:
        print(
            f"child-cart: the package {missing.name} is not installed. "
            "Install all that a cart needs: pip install -r child_cart/requirements.txt, or make install.",
            file=sys.stderr,
        )
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(start())
