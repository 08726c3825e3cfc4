"""The routes of /api/v1, one file for each thing they are about. Each handler calls one service or one read."""
