"""The models of our strategy: latency, mask loss, failures, limits; and the value of a candidate by them."""
