"""What artfs data is: names, digests, trees, recipes, packs and the rules over them.

Pure: no I/O, no clock, no randomness, no threads. Everything above this layer stores, moves or shows what is defined here.
"""
