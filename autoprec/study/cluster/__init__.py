"""One study on a Ray cluster: what every node is sent, and who searches where."""

from autoprec.study.cluster.places import search_on_ray

__all__ = ["search_on_ray"]
