"""What every process needs: settings, a data folder, durable files, TLS, tasks, backoff."""
