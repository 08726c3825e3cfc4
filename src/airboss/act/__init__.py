"""Making production different, and taking it back: rollouts, the targets that carry exposure, flags."""
