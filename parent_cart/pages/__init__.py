"""The pages of a bridge: status, health, metrics and traffic charts."""
