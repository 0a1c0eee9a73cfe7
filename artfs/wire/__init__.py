"""What client and registry say to each other: records, and the services as protocols.

The same protocols are served in process (embedded) and over HTTP; whoever holds a `Registry` cannot tell which. Pure: types only.
"""
