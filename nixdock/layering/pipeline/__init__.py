"""The pipeline strategy: dockerTools' language for layerings.

A pipeline is a list of operations, each of them a list of its name and its arguments. The closure
flows through them: an operation takes a graph apart into graphs by name or into a list of graphs,
or goes into the parts that others made; the graphs that come out at the end are the layers. So a
pipeline says exactly what shares a layer, and how many layers there are, whatever the budget.

What comes out is what dockerTools makes of the same pipeline, layers that would be empty left
out. Where dockerTools fails because of a path that has left the closure, or as the pipeline ends
with a single graph, the sense of it is taken; what is plainly wrong is an error that says where.
"""
