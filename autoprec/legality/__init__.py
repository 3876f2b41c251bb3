"""Which precisions a block may have on an engine, and why not the others: judged, probed, and measured."""
