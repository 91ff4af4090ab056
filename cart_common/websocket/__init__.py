"""WebSocket frames and sockets (RFC 6455), and who may write and read next."""
