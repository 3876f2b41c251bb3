"""One study on a Ray cluster: what each node receives, and where searches run."""

from autoprec.study.cluster.places import search_on_ray

__all__ = ["search_on_ray"]
