"""`lateen status`, `logs`, `stop` and `resume`: for those who do not want to remember kubectl's words."""
