"""Try the provider on this machine: a real Airflow and the EnOS emulator."""
