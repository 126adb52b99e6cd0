"""The wire format of SLS: protobuf log groups, compression, cursors and signatures.

Nothing here talks to a network or knows about a server; the emulator is built on it, and a client may be.
"""
