"""What our strategy believes: latency, mask loss, failures, limits; and what a candidate is worth by them."""
