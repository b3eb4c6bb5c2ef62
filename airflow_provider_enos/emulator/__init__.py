"""A faithful EnOS on this machine: ``python -m airflow_provider_enos.emulator``."""
