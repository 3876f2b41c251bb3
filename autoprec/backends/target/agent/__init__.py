"""The agent: what runs on a target. Needs Python 3.8, numpy and the engine's own bindings.

It travels as one zip file with these modules and nothing else of autoprec; they import only each other.
"""
