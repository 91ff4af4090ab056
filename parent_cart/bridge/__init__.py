"""What a bridge decides: who is attached, who may send what to whom, and how much. No sockets, no clocks."""
