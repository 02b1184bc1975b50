"""From out-of-fold tables to what they prove: metrics, intervals, paired tests, combinations."""
