"""What the bridge and the carts share: the protocol, WebSockets, and the setup of a process. Imports nothing heavy."""

__version__ = "0.1.0"
