"""The size of the groups that rows are read, written and copied in."""

#: Rows that DuckDB keeps together in a table. What comes in groups of as many is copied twice as
#: fast as in others, by each of its threads, with half the memory.
ROW_GROUP = 122_880
