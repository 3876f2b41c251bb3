"""Numbers on grids as data: scales, zero points, integers and small floats."""
