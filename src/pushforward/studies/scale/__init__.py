"""Rows beyond memory and work of several processes: time, memory, the cost of ranks, and what faults do."""
