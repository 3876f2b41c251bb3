"""What people see: tables, text plots, live progress."""
