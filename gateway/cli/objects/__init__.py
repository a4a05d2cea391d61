"""The commands about managed objects: the same verbs for each, spoken to the API."""
