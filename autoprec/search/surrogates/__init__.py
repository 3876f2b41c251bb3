"""The default strategy's models of latency, mask loss, failures and limits, and what a candidate is worth by
them."""
