"""The Airflow connection and the two HTTP clients."""
