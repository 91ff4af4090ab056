"""What a bridge shows: its status page, health, metrics and traffic graphs."""
