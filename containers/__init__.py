"""What the programs need in containers: a data folder for each replica, the fleet's secrets, and health checks."""
