"""Writing the chosen point for a build tool: one file per target."""
