"""`lateen report`: a run as one HTML page that needs nothing else, to keep and to pass on.

The way of the data: `folder` reads what lies in a run's folder, `metrics` its numbers, `secrets` takes out what nobody
else should read; `chart`, `bars`, `tables` draw parts of the page, and `page` puts them together.
"""
