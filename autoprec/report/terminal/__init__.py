"""What people see in a terminal: tables, and views of one trial or of two studies."""
