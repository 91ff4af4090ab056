"""The link to a bridge: which bridge, how to attach, and how other carts find this one."""
