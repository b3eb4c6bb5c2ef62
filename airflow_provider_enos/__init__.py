"""Apache Airflow provider for EnOS stream processing pipelines."""

__version__ = "0.1.0"
