"""What the broker counts for those who watch it. No I/O, and no clock: figures are numbers, kept where things happen,
and leave the daemon in the answer to STATUS alone.

histogram   a distribution in fixed buckets
work        what became of the work of one operation
figures     all that the core counts, and the map that the report has of it
"""
