"""Other forms of what a model says: constants computed, operators as engines compute them right."""
