"""People: who somebody is (`identity`) and what they may do (`access`)."""
