"""What an operator sees and does: status, warnings, log, disk, and commands on the data of a stopped cart."""
