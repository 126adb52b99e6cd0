"""The runtime: channels, receipts, workers, drain barriers and the ledger that proves that nothing was lost.

A `Run` puts a bounded channel in front of every stage and gives every worker a thread of its own; downstream opens
before upstream. Sources read batches and hand them over with receipts; what a sink has delivered, a transform has
filtered or the dead letters hold is settled, and only the settled prefix of a partition is ever committed. A stop
closes the sources; each stage then empties its channel, meets at its barrier, flushes and closes its output, in
topological order; what has not come to its end at the deadline is abandoned, counted and read again by the next run.
"""
