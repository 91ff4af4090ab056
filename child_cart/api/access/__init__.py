"""Who may ask for what: the account, sessions and tokens, login attempts, and requests from other sites."""
