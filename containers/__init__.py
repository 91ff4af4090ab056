"""What the programs need to run in containers: a data folder for each replica, the fleet's secrets, health checks."""
