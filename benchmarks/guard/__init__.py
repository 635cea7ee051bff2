"""A quick guard against slowdowns: ratios to fixed workloads, stored, not times."""
