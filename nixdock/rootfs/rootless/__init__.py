"""Scripts that run as if by root, without being root.

fakeroot is a library that programs load before all others. It lets them change owners and modes
and make devices, and remembers these instead of asking the kernel for them. `run` runs a script
under it and returns what it remembers. `enter`, `calls`, `watch` and `caller` do the same for
statically linked programs, which load no libraries.

`start` starts the programs of all scripts, also of those that run as ordinary users. `isolate` and
`enter` confine them, with the means of `namespaces` and `mounting`.
"""
