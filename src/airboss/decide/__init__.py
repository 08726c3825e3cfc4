"""May it, who says so, and when: policy, approvals, the calendar."""
