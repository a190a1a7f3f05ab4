"""The Grafana dashboards, as code: `python -m dashboards` in charts/ writes charts/lateen/dashboards/*.json."""
