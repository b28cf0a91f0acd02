"""What is shown of a server that serves: metrics for Prometheus, probes for orchestrators, and a live page."""
