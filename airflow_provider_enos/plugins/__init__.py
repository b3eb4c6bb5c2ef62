"""What the package adds to the Airflow UI."""
