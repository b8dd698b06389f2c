"""Trainings on the nodes of a Ray cluster: the executor and its places on the loop's machine, and what runs on a node."""
