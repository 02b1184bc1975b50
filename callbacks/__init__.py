"""Lightning callbacks: one job at one event each."""
