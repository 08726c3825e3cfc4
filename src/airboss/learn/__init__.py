"""Learning from what happened: reviews now; incidents, analytics, cost and game days to come."""
