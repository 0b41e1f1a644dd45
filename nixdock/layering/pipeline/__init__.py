"""The pipeline strategy: dockerTools' language for layerings.

A pipeline is a list of operations; an operation is a list of its name and its arguments. The first
operation gets the graph of the closure, and each next one the result of the one before. Operations
split a graph into graphs by name or into a list of graphs, or apply other operations to the parts.
The graphs at the end are the layers. So a pipeline determines which paths share a layer, and how
many layers there are, whatever the budget.

The layers are those that dockerTools makes of the same pipeline, without empty ones. dockerTools
fails if a named path is not in the closure, or if the pipeline ends with a single graph; here, such
pipelines work. Clear mistakes are errors that name the place in the pipeline.
"""
