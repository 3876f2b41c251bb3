"""What a study has found out: a trial explained, two studies compared, the night as a report."""
