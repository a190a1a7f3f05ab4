"""`lateen report`: a run as one HTML page that needs nothing else, to keep and to pass on.

The way of the data: `folder` reads what lies in a run's folder, `metrics` its numbers, `secrets` takes out the
secrets; `chart` and `bars` draw parts of the page, and `page` puts them together.
"""
